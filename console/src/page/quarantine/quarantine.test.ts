import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { OperationSchema, ParkedSchema, TableSchema, ValueSchema, type Value } from '../../gen/tidemark/admin/v1/admin_pb';
import { check, contested, decide, leaveOut, noEdits, put } from './edits';
import { forest } from './tree';
import { outcome } from './words';

const text = (value: string): Value => create(ValueSchema, { kind: { case: 'text', value } });
const int = (value: bigint): Value => create(ValueSchema, { kind: { case: 'integer', value } });

const op = create(OperationSchema, {
  place: 3,
  table: 'visit',
  kind: 'update',
  exists: true,
  columns: [
    { name: 'fee', type: 'INTEGER', base: int(1n), new: int(2n), hub: int(5n) },
    { name: 'note', type: 'TEXT', base: text('a'), new: text('b'), hub: text('a') },
  ],
});
const tables = [create(TableSchema, { name: 'visit', columns: [{ name: 'fee', type: 'INTEGER', notNull: true }] })];

describe('edits', () => {
  it('are what was typed, in the column’s type, and nothing else', () => {
    const d = put(put(noEdits, 'v1', 3, 'fee', { null: false, text: '7' }), 'v2', 3, 'note', { null: false, text: 'b' });
    expect(d.version).toBe('v1');
    expect(check(d, [op], tables)).toEqual({ edits: [{ place: 3, leaveOut: false, set: { fee: int(7n) } }], errors: {} });
  });
  it('say what is wrong, by the column', () => {
    expect(check(put(noEdits, 'v', 3, 'fee', { null: false, text: 'x' }), [op], tables).errors['3 fee']).toMatch(/whole number/);
    expect(check(put(noEdits, 'v', 3, 'fee', { null: true, text: '' }), [op], tables).errors['3 fee']).toMatch(/NULL/);
  });
  it('leave an operation out whole', () => {
    const d = leaveOut(put(noEdits, 'v', 3, 'fee', { null: false, text: 'x' }), 'v', 3, true);
    expect(check(d, [op], tables)).toEqual({ edits: [{ place: 3, leaveOut: true, set: {} }], errors: {} });
  });
  it('decide only what both sides changed', () => {
    expect(contested(op).map((c) => c.name)).toEqual(['fee']);
    expect(decide([op], 'hub')).toEqual([{ place: 3, leaveOut: false, set: { fee: int(5n) } }]);
    expect(decide([op], 'edge')).toEqual([{ place: 3, leaveOut: false, set: { fee: int(2n) } }]);
  });
});

describe('the tree of what waits for what', () => {
  const p = (id: string, ...dependsOn: string[]) => create(ParkedSchema, { id, dependsOn });
  it('hangs each under what it waits for', () => {
    const f = forest([p('c', 'b'), p('b', 'a'), p('a'), p('d', 'a')]);
    expect(f.map((n) => n.id)).toEqual(['a']);
    expect(f[0]!.children.map((n) => n.id)).toEqual(['b', 'd']);
    expect(f[0]!.children[0]!.children.map((n) => n.id)).toEqual(['c']);
  });
  it('shows what is not known, and survives a circle', () => {
    expect(forest([p('b', 'gone')])[0]).toMatchObject({ id: 'gone', parked: undefined });
    expect(forest([p('a', 'b'), p('b', 'a')]).length).toBeGreaterThan(0);
  });
});

describe('outcome', () => {
  it('says what became of all', () => {
    expect(outcome([{ id: '1', status: 'applied', reason: '' }, { id: '2', status: 'quarantined', reason: 'no parent' }] as never)).toEqual({ text: '1 transaction applied', waits: 'no parent' });
  });
});
