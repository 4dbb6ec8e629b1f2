import './receipt.css';
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Receipt, Value } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { useRole } from '../../hub/query';
import { words } from '../../diff/words';
import { isAbsent, keyText, plain, sameValue } from '../../format/value';
import { full } from '../../format/time';
import { short } from '../../format/number';
import { href } from '../../route/router';
import { Ago, FaultNote, Loading, Tag, Val } from '../../ui/parts';
import { canUndo, stake, stateWord, what } from './words';

interface Props {
  id: string;
  onAccept: (r: Receipt) => void;
  onUndo: (r: Receipt) => void;
}

export function ReceiptDetail({ id, onAccept, onUndo }: Props) {
  const { operator } = useRole();
  const q = useQuery({ queryKey: ['conflicts', 'one', id], queryFn: ({ signal }) => hub.conflicts.get({ id }, { signal }) });
  const r = q.data?.receipt;
  if (!r) return q.error ? <FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /> : <Loading what="the conflict" />;
  const state = stateWord(r);
  return (
    <div className="sheet">
      <header>
        <h2 className="grow">
          {what(r)} {r.column && <span className="dim">· {r.column}</span>}
        </h2>
        <Tag tone={state === 'new' ? 'notice' : undefined}>{state === 'new' ? 'not looked at' : state}</Tag>
        {operator && state === 'new' && (
          <Button size="compact-sm" variant="default" onClick={() => onAccept(r)}>
            Accept
          </Button>
        )}
        {operator && canUndo(r) && (
          <Button size="compact-sm" onClick={() => onUndo(r)}>
            Undo
          </Button>
        )}
      </header>
      <div className="in stack">
        <p>
          {r.kind === 'column' ? '' : `${stake(r)}. `}
          Rule <Tag>{r.rule || '—'}</Tag> decided <Ago t={r.at} /> for <b>{r.winnerName || r.winner}</b>, over {r.loserName || 'the other side'}.
          {r.by && ` ${r.kind === 'undo' ? 'Written back' : 'Accepted'} by ${r.by}.`} {r.note && `“${r.note}”`}
        </p>
        <ThreeWay base={r.base} hubValue={r.hub} edgeValue={r.edge} result={r.result} winner={r.winner} names={sides(r)} undone={state === 'undone'} />
        {r.undone && (
          <p>
            Undone{r.undoneBy && ` by ${r.undoneBy}`} {r.undoneAt && <Ago t={r.undoneAt} />}: <a href={href(['conflicts', r.undone])}>the undo’s own receipt</a>
          </p>
        )}
        <Now columns={q.data?.columns ?? []} now={q.data?.now ?? []} column={r.column} r={r} />
        <Others list={q.data?.others.filter((o) => o.id !== r.id) ?? []} />
        <p className="small dim">
          {full(r.at)} · transaction <span className="mono">{short(r.transaction)}</span> of <a href={href(['device', r.device])}>{r.deviceName || short(r.device)}</a> · receipt <span className="mono">{r.id}</span>
        </p>
      </div>
    </div>
  );
}

function sides(r: Receipt): { hub: string; edge: string } {
  return r.winner === 'hub' ? { hub: r.winnerName, edge: r.loserName } : { hub: r.loserName, edge: r.winnerName };
}

interface ThreeWayProps {
  base: Value | undefined;
  hubValue: Value | undefined;
  edgeValue: Value | undefined;
  result: Value | undefined;
  winner: string; // "" nobody yet
  names: { hub: string; edge: string };
  undone: boolean; // what was decided stands no more
}

/**
 * ThreeWay shows how two histories parted and met: what both had, what each made of it
 * with the words that it changed marked, and what stands.
 */
export function ThreeWay({ base, hubValue, edgeValue, result, winner, names, undone }: ThreeWayProps) {
  return (
    <div className="ways" role="group" aria-label="Base, theirs, ours, result">
      <div className="way base">
        <h3>Before <span className="dim">(base)</span></h3>
        <Val v={base} absent="not known" />
      </div>
      <Way title="Theirs" who={names.hub || 'the hub'} base={base} v={hubValue} won={winner === 'hub'} lost={winner === 'edge'} undone={undone} />
      <Way title="Ours" who={names.edge || 'the device'} base={base} v={edgeValue} won={winner === 'edge'} lost={winner === 'hub'} undone={undone} />
      {winner !== '' && (
        <div className="way result">
          <h3>Result {undone && <span className="dim">· until it was undone</span>}</h3>
          <Val v={result} absent="the row is gone" />
          {!sameValue(result, hubValue) && !sameValue(result, edgeValue) && !isAbsent(result) && <div className="small dim">computed from both</div>}
        </div>
      )}
    </div>
  );
}

function Way({ title, who, base, v, won, lost, undone }: { title: string; who: string; base: Value | undefined; v: Value | undefined; won: boolean; lost: boolean; undone: boolean }) {
  return (
    <div className={`way ${won ? 'won' : ''}`}>
      <h3>
        {title} <span className="dim">· {who}</span> {won && <Tag tone={undone ? undefined : 'ok'}>{undone ? 'stood' : 'stands'}</Tag>} {lost && <Tag>gave way</Tag>}
      </h3>
      <Changed base={base} v={v} />
    </div>
  );
}

/** byWords says whether two values are compared word by word: texts of several words. */
export function byWords(base: Value | undefined, v: Value | undefined): boolean {
  return base?.kind.case === 'text' && v?.kind.case === 'text' && (plain(base).includes(' ') || plain(v).includes(' '));
}

/** Changed marks what a side changed: word by word in texts, else the value with the old one struck. */
export function Changed({ base, v }: { base: Value | undefined; v: Value | undefined }) {
  if (isAbsent(v)) return <Val v={v} absent="deleted, or not given" />;
  if (isAbsent(base) || sameValue(base, v)) return <Val v={v} />;
  if (!byWords(base, v)) return <Val v={v} />;
  return (
    <span className="value">
      {words(plain(base), plain(v)).map((p, i) => (p.kind === 'added' ? <ins key={i}>{p.text}</ins> : p.kind === 'removed' ? <del key={i}>{p.text}</del> : <span key={i}>{p.text}</span>))}
    </span>
  );
}

function Now({ columns, now, column, r }: { columns: string[]; now: Value[]; column: string; r: Receipt }) {
  return (
    <div>
      <div className="row">
        <h3>The row now</h3>
        <a className="small" href={href(['data', r.table, keyText(r.key)])}>
          Its history
        </a>
      </div>
      {now.length === 0 ? (
        <p className="dim">It is not there any more.</p>
      ) : (
        <dl className="facts row-now">
          {columns.map((c, i) => (
            <div key={c} data-at={c === column || undefined}>
              <dt>{c}</dt>
              <dd>
                <Val v={now[i]} />
              </dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  );
}

function Others({ list }: { list: Receipt[] }) {
  if (list.length === 0) return null;
  return (
    <div>
      <h3>Other conflicts about this row</h3>
      <ul>
        {list.map((o) => (
          <li key={o.id}>
            <a href={href(['conflicts', o.id])}>{o.column || stake(o)}</a> <span className="dim small">{o.rule}, <Ago t={o.at} />, {stateWord(o)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
