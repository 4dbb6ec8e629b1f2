import { useQuery } from '@tanstack/react-query';
import type { Series, Share } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { count, plural } from '../../format/number';
import { href } from '../../route/router';
import { Ago, Empty, FaultNote, Loading, Tag } from '../../ui/parts';

/** Leases is which device may give out which numbers, and what each one holds of bounded counters. */
export function Leases() {
  const q = useQuery({ queryKey: ['data', 'leases'], queryFn: ({ signal }) => hub.data.leases({}, { signal }) });
  if (!q.data) return q.error ? <FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /> : <Loading what="the leases" />;
  const { numbers, shares } = q.data;
  if (numbers.length === 0 && shares.length === 0) return <Empty title="Nothing is leased.">Leased numbers and bounded counters are named in tidemark.yaml.</Empty>;
  return (
    <div className="stack">
      {numbers.map((s) => (
        <Numbers key={s.name} s={s} />
      ))}
      {shares.length > 0 && <Shares list={shares} />}
    </div>
  );
}

function Numbers({ s }: { s: Series }) {
  return (
    <section className="sheet" aria-label={`Numbers of ${s.name}`}>
      <header>
        <h2>{s.name}</h2>
        {s.size > 0n ? <span className="dim">ranges of {count(s.size)}, the next one begins at {count(s.next)}</span> : <Tag>leased no more</Tag>}
      </header>
      <table className="plain cards">
        <thead>
          <tr><th>Device</th><th>Left</th><th>Holds up to</th><th>Ranges</th><th>Asked last</th></tr>
        </thead>
        <tbody>
          {s.left.map((l) => (
            <tr key={l.device}>
              <td data-label="Device"><a href={href(['device', l.device])}>{l.deviceName || l.device}</a></td>
              <td className="num" data-label="Left"><span>{count(l.left)}</span></td>
              <td className="num" data-label="Holds up to"><span>{l.highest > 0n ? count(l.highest) : '—'}</span></td>
              <td className="num" data-label="Ranges"><span>{plural(s.ranges.filter((r) => r.device === l.device).length, 'range')}</span></td>
              <td data-label="Asked last"><Ago t={l.at} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Shares({ list }: { list: Share[] }) {
  return (
    <section className="sheet" aria-label="Shares of bounded counters">
      <header>
        <h2>Shares of bounded counters</h2>
      </header>
      <table className="plain cards">
        <thead>
          <tr><th>Column</th><th>Device</th><th>Rows</th><th>Holds</th></tr>
        </thead>
        <tbody>
          {list.map((s) => (
            <tr key={[s.table, s.column, s.device].join('/')}>
              <td data-label="Column"><span>{s.table}.{s.column}</span></td>
              <td data-label="Device"><a href={href(['device', s.device])}>{s.deviceName || s.device}</a></td>
              <td className="num" data-label="Rows"><span>{count(s.rows)}</span></td>
              <td className="num" data-label="Holds"><span>{count(s.held)}</span></td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
