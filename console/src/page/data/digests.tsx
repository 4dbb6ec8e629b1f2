import { useQuery } from '@tanstack/react-query';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { count, plural } from '../../format/number';
import { setQuery, useRoute } from '../../route/router';
import { Empty, FaultNote, Loading } from '../../ui/parts';
import { useScopes } from './use';

/** Digests are one number per table over all rows of some scopes: equal numbers, equal rows. */
export function Digests() {
  const { query } = useRoute();
  const scopes = useScopes();
  const chosen = query.getAll('scope');
  const q = useQuery({ queryKey: ['data', 'digests', chosen], queryFn: ({ signal }) => hub.data.digests({ scopes: chosen }, { signal }) });
  const toggle = (s: string) => setQuery({ scope: chosen.includes(s) ? chosen.filter((x) => x !== s) : [...chosen, s] });
  return (
    <div className="stack">
      <p className="dim">A digest is one number over all rows. A device with the same scopes and the same digest has the same rows: compare with <code>tidemark verify FILE</code> there.</p>
      <FaultNote fault={scopes.error ? faultOf(scopes.error) : undefined} />
      <div className="row" role="group" aria-label="Scopes">
        {(scopes.data?.scopes ?? []).map((s) => (
          <button key={s.scope} type="button" className="chip" aria-pressed={chosen.includes(s.scope)} onClick={() => toggle(s.scope)}>
            {s.scope} <span className="num">({plural(s.devices, 'device')})</span>
          </button>
        ))}
      </div>
      <FaultNote fault={q.error ? faultOf(q.error) : undefined} retry={() => void q.refetch()} />
      {q.isPending && !q.error && <Loading what="the digests" />}
      {q.data && q.data.tables.length === 0 && <Empty title="No rows in these scopes." />}
      {q.data && q.data.tables.length > 0 && (
        <section className="sheet scroll-x" tabIndex={0} aria-label="Digests">
          <table className="plain">
            <thead>
              <tr>
                <th>Table</th>
                <th>Rows</th>
                <th>Digest</th>
              </tr>
            </thead>
            <tbody>
              {q.data.tables.map((t) => (
                <tr key={t.table}>
                  <td>{t.table}</td>
                  <td className="num">{count(t.rows)}</td>
                  <td className="mono">{t.sum}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p className="in small dim">
            {chosen.length ? chosen.join(', ') : 'all scopes'}, as of cursor <span className="mono">{q.data.cursor}</span>
          </p>
        </section>
      )}
    </div>
  );
}
