import { Kind, type Node, type Statement } from './node.js';

/**
 * Decides which values must be computed where they were made, into a local: those used more than once, and those that something between their making
 * and their use could change (loads by stores and calls, variables by assignments, both by the start of a loop). All others are computed where they are used.
 */
export function placeValues(body: readonly Statement[]): void {
  countUses(body, false);
  new Placement().walk(body);
}

/** Hands what a statement evaluates on, in order. */
function forEachOperand<T>(statement: Statement, act: (node: Node, context: T) => void, context: T): void {
  switch (statement.kind) {
    case 'store':
      act(statement.address, context);
      return act(statement.value, context);
    case 'set':
      return act(statement.value, context);
    case 'if':
      return act(statement.condition, context);
    case 'branch':
      if (statement.condition) act(statement.condition, context);
      return;
    case 'branch-table':
      return act(statement.index, context);
    case 'look-up':
      return act(statement.key, context);
    case 'return':
      for (const node of statement.values) act(node, context);
      return;
    case 'call':
    case 'tail-call':
      for (const node of statement.args) act(node, context);
      return;
    case 'tail-call-indirect':
    case 'call-indirect':
      for (const node of statement.args) act(node, context);
      return act(statement.target, context);
    case 'memory-copy':
    case 'memory-fill':
      act(statement.target, context);
      act(statement.source, context);
      return act(statement.length, context);
    default:
      return;
  }
}

function use(node: Node, isRare: boolean): void {
  const isFirst = node.wanted++ === 0;
  const isFirstCommon = !isRare && node.common++ === 0;
  if (isFirst || isFirstCommon) for (const arg of node.args) use(arg, isRare);
}

/** Counts the uses that are left when values that nobody uses are not computed. */
function countUses(statements: readonly Statement[], isRare: boolean): void {
  for (const s of statements) {
    if (s.kind === 'define') continue;
    forEachOperand(s, use, isRare);
    if (s.kind === 'if') {
      countUses(s.then, isRare || s.rare === true);
      countUses(s.otherwise, isRare);
    } else if (s.kind === 'look-up') countUses(s.miss, true);
    else if (s.kind === 'block' || s.kind === 'loop') countUses(s.body, isRare);
  }
}

/** True when one of the times, which ascend, lies after `from` and not after `to`. */
function happened(times: readonly number[], from: number, to: number): boolean {
  for (let i = times.length - 1; i >= 0 && times[i]! > from; i--) if (times[i]! <= to) return true;
  return false;
}

class Placement {
  private clock = 1;
  /** When memory was written, when each variable was, and when loops began. */
  private readonly memory: number[] = [];
  private readonly variables: number[][] = [];
  private readonly loops: number[] = [];
  private readonly look = (node: Node, time: number): void => this.visit(node, time);

  walk(statements: readonly Statement[]): void {
    for (const statement of statements) {
      if (statement.kind === 'define') {
        statement.node.born = this.clock;
        continue;
      }
      forEachOperand(statement, this.look, this.clock);
      this.effect(statement);
    }
  }

  private effect(statement: Statement): void {
    switch (statement.kind) {
      case 'store':
      case 'call-indirect':
      case 'memory-copy':
      case 'memory-fill':
        this.memory.push(++this.clock);
        break;
      case 'call':
        if (statement.target.pure !== true) this.memory.push(++this.clock);
        break;
      case 'set':
        this.variables[statement.variable] ??= [];
        this.variables[statement.variable]!.push(++this.clock);
        break;
      case 'if':
        this.walk(statement.then);
        this.walk(statement.otherwise);
        break;
      case 'look-up':
        this.walk(statement.miss);
        break;
      case 'loop':
        this.loops.push(++this.clock);
        this.walk(statement.body);
        break;
      case 'block':
        this.walk(statement.body);
        break;
      default:
        break;
    }
  }

  /** Whether a node means the same at a later time. */
  private isMovable(node: Node, time: number): boolean {
    if (node.kind === Kind.LOAD) return !happened(this.memory, node.born, time) && !happened(this.loops, node.born, time);
    if (node.kind === Kind.GET) return !happened(this.variables[node.index] ?? [], node.born, time) && !happened(this.loops, node.born, time);
    return true;
  }

  /**
   * Whether a node is worth a local for its uses' sake. Reading a variable again costs no more than reading a copy of it; what only rare code uses is
   * better computed there again than always.
   */
  private wantsLocal(node: Node): boolean {
    return node.kind !== Kind.GET && node.wanted > 1 && node.common > 0;
  }

  /** A value is wanted at a time. */
  private visit(node: Node, time: number): void {
    node.left++;
    if (node.kind <= Kind.CONST || node.kind === Kind.RESULT) return;
    if (node.pinned) return;
    if (this.wantsLocal(node) || !this.isMovable(node, time)) {
      node.pinned = true;
      for (const arg of node.args) this.visit(arg, node.born);
    } else {
      for (const arg of node.args) this.visit(arg, time);
    }
  }
}
