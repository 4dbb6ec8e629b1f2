import { faultOf } from '../../hub/fault';
import { count } from '../../format/number';
import { go, href } from '../../route/router';
import { useCursor } from '../../ui/list';
import { Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { useTables } from './use';

export function Tables() {
  const q = useTables();
  const tables = q.data?.tables ?? [];
  const cursor = useCursor(tables.map((t) => t.name), { title: 'Tables', open: (name) => go(href(['data', name])) });
  if (!q.data) return q.error ? <FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /> : <Loading what="the tables" />;
  if (tables.length === 0) return <Empty title="No table is synchronised yet.">Tables are named in tidemark.yaml, or come with the first device.</Empty>;
  return (
    <div className="sheet scroll-x" tabIndex={0} role="region" aria-label="Tables">
      <table className="plain">
        <thead>
          <tr>
            <th>Table</th>
            <th>Rows</th>
            <th>Scope</th>
            <th>Conflicts</th>
            <th>Columns</th>
          </tr>
        </thead>
        <tbody>
          {tables.map((t, i) => (
            <tr key={t.name} style={cursor.at === i ? { background: 'var(--pick)' } : undefined}>
              <td>
                <a href={href(['data', t.name])}>{t.name}</a> {t.notServed && <Tag tone="alarm">not served: {t.notServed}</Tag>}
              </td>
              <td className="num">{t.rows < 0n ? <span className="dim">unknown</span> : count(t.rows)}</td>
              <td>{t.scope || <span className="dim">all</span>}</td>
              <td>
                {t.policy || 'latest'}
                {t.columns.filter((c) => c.policy && c.policy !== t.policy).map((c) => (
                  <div key={c.name} className="small dim">{c.name}: {c.policy}</div>
                ))}
              </td>
              <td className="small">
                {t.columns.map((c, j) => (
                  <span key={c.name} title={c.type}>
                    {j > 0 && ', '}
                    {c.key ? <b>{c.name}</b> : c.name}
                  </span>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
