import { useVirtualizer, type Virtualizer } from '@tanstack/react-virtual';
import { memo, useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from 'react';
import { useMediaQuery } from '@mantine/hooks';
import { DeviceState, type Device } from '../../gen/tidemark/admin/v1/admin_pb';
import type { Pages } from '../../hub/query';
import { bytes, count } from '../../format/number';
import { durationMs, offset, span } from '../../format/time';
import { href, setQuery } from '../../route/router';
import { Ago, Mark, Tag } from '../../ui/parts';
import { nextSort } from './filters';

const REST = 600; // ms

export type Rows = Virtualizer<HTMLElement, Element>;

/** useReveal lays out only the rows that are in sight, and asks for more near the end. */
export function useReveal(pages: Pages<Device, unknown>): { virtual: Rows; listRef: RefObject<HTMLDivElement | null>; reveal: (i: number) => void } {
  const listRef = useRef<HTMLDivElement>(null);
  const [margin, setMargin] = useState(0);
  const narrow = useMediaQuery('(max-width: 700px)', false, { getInitialValueInEffect: false });
  const n = pages.items.length;
  useLayoutEffect(() => {
    const el = listRef.current;
    const pane = document.getElementById('main');
    if (!el || !pane) return;
    const measure = () => setMargin(el.getBoundingClientRect().top - pane.getBoundingClientRect().top + pane.scrollTop);
    measure();
    const watch = new ResizeObserver(measure);
    if (el.parentElement?.parentElement) for (const c of el.parentElement.parentElement.children) if (!c.contains(el)) watch.observe(c);
    return () => watch.disconnect();
  }, [n === 0, narrow]);
  const virtual = useVirtualizer<HTMLElement, Element>({
    count: n,
    getScrollElement: () => document.getElementById('main'),
    estimateSize: () => (narrow ? 104 : 46),
    overscan: 12,
    scrollMargin: margin,
    scrollPaddingStart: 60,
    scrollPaddingEnd: 20,
  });
  useEffect(() => virtual.measure(), [narrow, virtual]);
  const last = virtual.getVirtualItems().at(-1)?.index ?? 0;
  const { loadMore, more, fetching } = pages;
  useEffect(() => {
    if (!more || fetching || last <= n - 200) return;
    // The first rows are few: the next ones are read when those have been painted.
    const t = setTimeout(loadMore, last > n - 60 ? 0 : REST);
    return () => clearTimeout(t);
  }, [last, n, more, fetching, loadMore]);
  const reveal = useCallback((i: number) => virtual.scrollToIndex(i, { align: 'auto' }), [virtual]);
  return { virtual, listRef, reveal };
}

const columns: { name: string; label: string; sort?: string; title?: string }[] = [
  { name: 'device', label: 'Device', sort: 'name' },
  { name: 'unsafe', label: 'Unsafe for', sort: 'unsafe', title: 'age of its oldest change that is not at the hub' },
  { name: 'outbox', label: 'Outbox', sort: 'outbox', title: 'transactions that are not at the hub' },
  { name: 'progress', label: 'Progress', title: 'when something last moved' },
  { name: 'seen', label: 'Seen', sort: 'seen', title: 'its last message, and whether it lags behind' },
  { name: 'quarantine', label: 'Quar.', sort: 'quarantined', title: 'transactions in quarantine' },
  { name: 'clock', label: 'Clock', sort: 'clock', title: 'how far its clock is off' },
  { name: 'agent', label: 'Version', sort: 'agent' },
  { name: 'schema', label: 'Schema', sort: 'schema' },
  { name: 'disk', label: 'Free disk' },
];

interface TableProps {
  devices: Device[];
  total: number;
  sort: string;
  virtual: Rows;
  listRef: RefObject<HTMLDivElement | null>;
  cursor: number;
}

export function DeviceTable({ devices, total, sort, virtual, listRef, cursor }: TableProps) {
  return (
    <div className="devices sheet" role="table" aria-label="Devices" aria-rowcount={total + 1}>
      <div className="heads" role="rowgroup">
        <div className="device head" role="row" aria-rowindex={1}>
          {columns.map((c) => (
            <Head key={c.name} c={c} sort={sort} />
          ))}
        </div>
      </div>
      <div ref={listRef} role="rowgroup" className="rows" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((v) => {
          const d = devices[v.index];
          return d && <Row key={d.id} d={d} index={v.index} at={cursor === v.index} top={v.start - virtual.options.scrollMargin} height={v.size} />;
        })}
      </div>
    </div>
  );
}

function Head({ c, sort }: { c: (typeof columns)[number]; sort: string }) {
  const way = c.sort && sort === c.sort ? 'ascending' : c.sort && sort === '-' + c.sort ? 'descending' : undefined;
  return (
    <div role="columnheader" className={`c-${c.name}`} aria-sort={way} title={c.title}>
      {c.sort ? (
        <button type="button" onClick={() => setQuery({ sort: nextSort(sort, c.sort!) })}>
          {c.label}
          <span aria-hidden="true">{way === 'ascending' ? ' ↑' : way === 'descending' ? ' ↓' : ''}</span>
        </button>
      ) : (
        c.label
      )}
    </div>
  );
}

const Row = memo(function Row({ d, index, at, top, height }: { d: Device; index: number; at: boolean; top: number; height: number }) {
  return (
    <div className="device" role="row" aria-rowindex={index + 2} data-at={at || undefined} style={{ transform: `translateY(${top}px)`, height }}>
      <div role="cell" className="c-device">
        <Mark level={d.level} />
        <div className="grow">
          <div className="who">
            <a className="clip" href={href(['device', d.id])} title={d.id}>
              {d.name || d.id}
            </a>
            <States d={d} />
          </div>
          <div className="clip small dim" title={d.why}>
            {d.why || (d.connected ? 'connected' : '')}
          </div>
        </div>
      </div>
      <Cells d={d} />
    </div>
  );
});

export function States({ d }: { d: Device }) {
  return (
    <>
      {d.state === DeviceState.INVITED && <Tag>invited</Tag>}
      {d.state === DeviceState.REVOKED && <Tag tone="alarm">revoked</Tag>}
      {d.paused && <Tag tone="notice">paused</Tag>}
      {d.isolated && <Tag tone="warning">isolated</Tag>}
      {d.held > 0 && <Tag tone="alarm">{d.held} held</Tag>}
      {d.asked && <Tag>asked to {d.asked}</Tag>}
    </>
  );
}

function Cells({ d }: { d: Device }) {
  const age = durationMs(d.oldestUnsafe);
  return (
    <>
      <Cell name="unsafe" label="unsafe for">
        {age > 0 ? <b className="num">{span(age)}</b> : <span className="dim">safe</span>}
      </Cell>
      <Cell name="outbox" label="outbox">
        <Amount n={d.outbox} />
      </Cell>
      <Cell name="progress" label="progress">
        {d.progress ? <Ago t={d.progress} /> : <span className="dim">never</span>}
      </Cell>
      <Cell name="seen" label="seen">
        {d.connected ? <span className="is-ok">now</span> : d.seen ? <Ago t={d.seen} /> : <span className="dim">never</span>}
        {d.behind && <div className="small is-notice">lags behind</div>}
      </Cell>
      <Cell name="quarantine" label="quarantine">
        {d.quarantined > 0 ? (
          <a className="is-warning" href={href(['quarantine'], { device: d.id })}>
            {count(d.quarantined)}
          </a>
        ) : (
          <Amount n={0} />
        )}
      </Cell>
      <Cell name="clock" label="clock">
        <span className={d.clockAhead ? 'is-warning' : 'dim'}>{offset(d.clockOffset)}</span>
      </Cell>
      <Cell name="agent" label="version">
        {d.agent ? <span title={d.agent}>{build(d.agent)}</span> : <span className="dim">—</span>}
      </Cell>
      <Cell name="schema" label="schema">
        <span className={d.schema && !d.schemaCurrent ? 'is-notice' : ''} title={d.schema && !d.schemaCurrent ? 'not the hub’s own schema' : undefined}>
          {d.schema || '—'}
          {d.schema && !d.schemaCurrent && ' *'}
        </span>
      </Cell>
      <Cell name="disk" label="free disk">
        {d.freeDisk > 0n ? <span className={d.freeDisk < 500_000_000n ? 'is-warning' : ''}>{bytes(d.freeDisk)}</span> : <span className="dim">—</span>}
      </Cell>
    </>
  );
}

/** build leaves out the program's own name: all of them run it. */
function build(agent: string): string {
  return agent.replace(/^tidemark /, '');
}

function Cell({ name, label, children }: { name: string; label: string; children: React.ReactNode }) {
  return (
    <div role="cell" className={`c-${name} num`} data-label={label}>
      {children}
    </div>
  );
}

function Amount({ n }: { n: bigint | number }) {
  return n > 0 ? <>{count(n)}</> : <span className="dim">0</span>;
}
