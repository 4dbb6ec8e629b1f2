import type { Operation, OperationColumn, Table, Value } from '../../gen/tidemark/admin/v1/admin_pb';
import { draftOf, parse, type Draft } from '../../edit/value';
import { sameValue } from '../../format/value';

/** What somebody typed about a parked transaction, by operation and column. */
export interface EditDraft {
  version: string; // of what they looked at when they began
  ops: Record<string, { leaveOut?: boolean; set?: Record<string, Draft> }>;
}

export const noEdits: EditDraft = { version: '', ops: {} };

export interface OneEdit {
  place: number;
  leaveOut: boolean;
  set: Record<string, Value>;
}

export interface Checked {
  edits: OneEdit[];
  errors: Record<string, string>; // by "place column"
}

/** check reads a draft into edits; what was typed as it already is is no edit. */
export function check(d: EditDraft, ops: Operation[], tables: Table[]): Checked {
  const out: Checked = { edits: [], errors: {} };
  for (const op of ops) {
    const mine = d.ops[op.place];
    if (!mine) continue;
    const edit: OneEdit = { place: op.place, leaveOut: !!mine.leaveOut && !op.leftOut, set: {} };
    if (!mine.leaveOut) {
      for (const c of op.columns) {
        const typed = mine.set?.[c.name];
        if (!typed) continue;
        const p = parse(typed, { name: c.name, type: c.type, notNull: isNotNull(tables, op.table, c.name) });
        if (!p.ok) out.errors[`${op.place} ${c.name}`] = p.error;
        else if (!sameValue(p.value, c.new)) edit.set[c.name] = p.value;
      }
    }
    if (edit.leaveOut || Object.keys(edit.set).length > 0) out.edits.push(edit);
  }
  return out;
}

function isNotNull(tables: Table[], table: string, column: string): boolean {
  return tables.find((t) => t.name === table)?.columns.find((c) => c.name === column)?.notNull ?? false;
}

/** put notes what was typed in a column. */
export function put(d: EditDraft, version: string, place: number, column: string, value: Draft): EditDraft {
  const op = d.ops[place] ?? {};
  return { version: d.version || version, ops: { ...d.ops, [place]: { ...op, set: { ...op.set, [column]: value } } } };
}

export function leaveOut(d: EditDraft, version: string, place: number, yes: boolean): EditDraft {
  return { version: d.version || version, ops: { ...d.ops, [place]: { ...d.ops[place], leaveOut: yes } } };
}

/** contested are the columns that both sides changed: a person decides between them. */
export function contested(op: Operation): OperationColumn[] {
  if (!op.exists || op.kind !== 'update') return [];
  return op.columns.filter((c) => !sameValue(c.hub, c.new) && !sameValue(c.base, c.hub));
}

/**
 * decide takes one side in all that is contested. Ours is said outright too, though the
 * value is the same: that is how the hub knows that a person decided.
 */
export function decide(ops: Operation[], side: 'hub' | 'edge'): OneEdit[] {
  const out: OneEdit[] = [];
  for (const op of ops) {
    const set: Record<string, Value> = {};
    for (const c of contested(op)) {
      const v = side === 'hub' ? c.hub : c.new;
      if (v) set[c.name] = v;
    }
    if (Object.keys(set).length > 0) out.push({ place: op.place, leaveOut: false, set });
  }
  return out;
}

export function typed(d: EditDraft, place: number, c: OperationColumn): Draft {
  return d.ops[place]?.set?.[c.name] ?? draftOf(c.new);
}
