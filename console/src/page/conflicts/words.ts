import { ReceiptState, type Receipt } from '../../gen/tidemark/admin/v1/admin_pb';
import { keyPlain } from '../../format/value';

export const stateNames: Record<string, ReceiptState> = {
  new: ReceiptState.NEW,
  accepted: ReceiptState.ACCEPTED,
  undone: ReceiptState.UNDONE,
};

/** what names what a receipt is about: "order 7 · note", "order 7, the row". */
export function what(r: Receipt): string {
  return `${r.table} ${keyPlain(r.key)}`;
}

/** stake says in words what was at stake, and how. */
export function stake(r: Receipt): string {
  switch (r.kind) {
    case 'delete':
      return 'one side deleted the row, the other changed it';
    case 'cascade':
      return 'rows that hang on a deleted one';
    case 'undo':
      return r.column ? `an undo of ${r.column}` : 'an undo';
    default:
      return r.column || 'the whole row';
  }
}

export function stateWord(r: Receipt): string {
  switch (r.state) {
    case ReceiptState.ACCEPTED:
      return 'accepted';
    case ReceiptState.UNDONE:
      return 'undone';
    default:
      return 'new';
  }
}

/** canUndo: what was undone already, and an answer that nothing was lost by, cannot be. */
export function canUndo(r: Receipt): boolean {
  return r.state !== ReceiptState.UNDONE && r.undone === '';
}

export const policies = ['latest', 'arrival', 'hub', 'edge', 'manual', 'counter', 'min', 'max', 'set', 'text'];
