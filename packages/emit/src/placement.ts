import { Kind, type Node, type Statement } from './node.js';

/**
 * Decides which values must be computed where they were made, into a local: those used more than once, and loads that an effect
 * separates from their use. All others are computed where they are used.
 */
export function placeValues(body: readonly Statement[]): void {
  for (const statement of body) placeStatement(statement);
}

function placeStatement(statement: Statement): void {
  switch (statement.kind) {
    case 'store':
      visit(statement.address, statement.epoch);
      visit(statement.value, statement.epoch);
      break;
    case 'set':
      visit(statement.value, statement.epoch);
      break;
    case 'if':
      visit(statement.condition, statement.epoch);
      placeValues(statement.then);
      placeValues(statement.otherwise);
      break;
    case 'block':
    case 'loop':
      placeValues(statement.body);
      break;
    case 'branch':
      if (statement.condition) visit(statement.condition, statement.epoch);
      break;
    case 'return':
      for (const value of statement.values) visit(value, statement.epoch);
      break;
    case 'call':
    case 'tail-call':
      for (const arg of statement.args) visit(arg, statement.epoch);
      break;
    case 'tail-call-indirect':
    case 'call-indirect':
      for (const arg of statement.args) visit(arg, statement.epoch);
      visit(statement.target, statement.epoch);
      break;
    case 'memory-copy':
    case 'memory-fill':
      visit(statement.target, statement.epoch);
      visit(statement.source, statement.epoch);
      visit(statement.length, statement.epoch);
      break;
    default:
      break;
  }
}

const isMovable = (node: Node): boolean => node.kind !== Kind.LOAD && node.kind !== Kind.GET;

/** A value is wanted by code at `epoch`. */
function visit(node: Node, epoch: number): void {
  node.left++;
  if (node.kind <= Kind.CONST || node.kind === Kind.RESULT) return;
  if (node.pinned) return;
  if (node.uses > 1 || (!isMovable(node) && node.epoch !== epoch)) {
    node.pinned = true;
    for (const arg of node.args) visit(arg, node.epoch);
  } else {
    for (const arg of node.args) visit(arg, epoch);
  }
}
