import './quarantine.css';
import { Button, Checkbox, Textarea, TextInput } from '@mantine/core';
import type { Operation, OperationColumn } from '../../gen/tidemark/admin/v1/admin_pb';
import { draftOf, type Draft } from '../../edit/value';
import { isNull, keyPlain, keyText, sameValue } from '../../format/value';
import { href } from '../../route/router';
import { Tag, Val } from '../../ui/parts';
import { Changed } from '../conflicts/receipt';
import { contested, leaveOut, put, typed, type EditDraft } from './edits';

interface Props {
  op: Operation;
  draft: EditDraft;
  version: string;
  errors: Record<string, string>;
  edit?: (d: EditDraft) => void; // absent: only to be read
  keys: string[]; // columns of the key: they name the row, and cannot be edited
}

/** OperationView is one operation beside what the hub holds, to be mended in place. */
export function OperationView({ op, draft, version, errors, edit, keys }: Props) {
  const out = draft.ops[op.place]?.leaveOut ?? op.leftOut;
  const hot = new Set(contested(op).map((c) => c.name));
  return (
    <section className="op" aria-label={`${op.kind} ${op.table} ${keyPlain(op.key)}`} data-out={out || undefined}>
      <header>
        <Tag>{op.kind}</Tag>
        <b>{op.table}</b>
        <a className="mono" href={href(['data', op.table, keyText(op.key)])}>
          {keyPlain(op.key)}
        </a>
        <span className="small dim grow">{op.exists ? 'the row is at the hub' : 'no such row at the hub now'}</span>
        {edit && !op.leftOut && <Checkbox size="xs" label="leave out" checked={out} onChange={(e) => edit(leaveOut(draft, version, op.place, e.currentTarget.checked))} />}
        {op.leftOut && <Tag>left out</Tag>}
      </header>
      {op.columns.length > 0 && (
        <div className="op-columns">
          <div className="op-column op-heads" aria-hidden="true">
            <span>column</span>
            <span>before</span>
            <span>at the hub now</span>
            <span>{edit ? 'to be written' : 'written'}</span>
          </div>
          {op.columns.map((c) => (
            <Column key={c.name} op={op} c={c} hot={hot.has(c.name)} error={errors[`${op.place} ${c.name}`]} value={typed(draft, op.place, c)} set={edit && !out && op.kind !== 'delete' && !keys.includes(c.name) ? (v) => edit(put(draft, version, op.place, c.name, v)) : undefined} />
          ))}
        </div>
      )}
    </section>
  );
}

interface ColumnProps {
  op: Operation;
  c: OperationColumn;
  hot: boolean;
  error: string | undefined;
  value: Draft;
  set: ((v: Draft) => void) | undefined;
}

function Column({ op, c, hot, error, value, set }: ColumnProps) {
  return (
    <div className="op-column" data-contested={hot || undefined}>
      <div className="name">
        {c.name} <span className="small dim">{c.type}</span>
        {hot && <div className="small is-warning">both changed it</div>}
      </div>
      <div data-label="before">
        {op.kind === 'insert' ? <span className="dim">—</span> : <Val v={c.base} />}
      </div>
      <div data-label="at the hub now">
        {op.exists ? <Changed base={c.base} v={c.hub} /> : <span className="dim">—</span>}
      </div>
      <div className="new" data-label={set ? 'to be written' : 'written'}>
        {set ? <ValueEdit label={`${op.table}.${c.name}`} value={value} error={error} onChange={set} /> : <Val v={c.new} />}
        {set && hot && (
          <div className="sides">
            <Button size="compact-xs" variant="default" onClick={() => set(draftOf(c.hub))} aria-pressed={same(value, draftOf(c.hub))}>
              theirs
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => set(draftOf(c.new))} aria-pressed={same(value, draftOf(c.new))}>
              ours
            </Button>
          </div>
        )}
        {set && !hot && !sameValue(c.new, c.base) && isNull(c.new) && <span className="small dim">set to NULL</span>}
      </div>
    </div>
  );
}

function same(a: Draft, b: Draft): boolean {
  return a.null === b.null && a.text === b.text;
}

/** ValueEdit edits one value: NULL is a choice of its own, apart from empty text. */
export function ValueEdit({ label, value, error, onChange }: { label: string; value: Draft; error: string | undefined; onChange: (v: Draft) => void }) {
  const long = value.text.length > 60 || value.text.includes('\n');
  const common = {
    'aria-label': label,
    value: value.text,
    disabled: value.null,
    placeholder: value.null ? 'NULL' : value.hex ? 'hexadecimal digits' : '',
    error,
    onChange: (e: { currentTarget: { value: string } }) => onChange({ ...value, null: false, text: e.currentTarget.value }),
  };
  return (
    <div className="value-edit">
      {long ? <Textarea size="xs" rows={4} {...common} /> : <TextInput size="xs" {...common} />}
      <Checkbox size="xs" label="NULL" aria-label={`${label} is NULL`} checked={value.null} onChange={(e) => onChange({ ...value, null: e.currentTarget.checked })} />
    </div>
  );
}
