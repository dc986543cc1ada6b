/** A value that depends on where labels end up: `label + addend - minus`. */
export interface LabelValue {
  readonly kind: 'label';
  readonly label: string;
  readonly addend: bigint;
  /** A label that is subtracted. */
  readonly minus?: string;
}

/** A number, or a value that labels give. */
export type Expression = number | bigint | LabelValue;

/** A reference to a label, plus a constant. */
export const label = (name: string, addend: number | bigint = 0): LabelValue => ({ kind: 'label', label: name, addend: BigInt(addend) });

/** Address of a label by name. */
export type Resolve = (name: string) => bigint;

/** The value of an expression. */
export function evaluate(expression: Expression, resolve: Resolve): bigint {
  if (typeof expression !== 'object') return BigInt(expression);
  return resolve(expression.label) + expression.addend - (expression.minus === undefined ? 0n : resolve(expression.minus));
}

/** Whether labels have a say in it. */
export const hasLabel = (expression: Expression): expression is LabelValue => typeof expression === 'object';
