import { useQuery } from '@tanstack/react-query';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { plural } from '../../format/number';
import { Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { Droppable } from './droppable';

/** Schemas is how many devices run which schema, and in what it differs from the hub's. */
export function Schemas() {
  const q = useQuery({ queryKey: ['data', 'schemas'], queryFn: ({ signal }) => hub.data.schemas({}, { signal }) });
  if (!q.data) return q.error ? <FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /> : <Loading what="the schemas" />;
  return (
    <div className="stack">
      <Droppable />
      {q.data.schemas.length === 0 && <Empty title="No device has told its schema yet." />}
      {q.data.schemas.map((s) => (
        <section key={s.schema} className="sheet" aria-label={`Schema ${s.schema}`}>
          <header>
            <h2 className="mono">{s.schema || 'unknown'}</h2>
            {s.current ? <Tag tone="ok">the hub’s own</Tag> : <Tag tone="notice">differs</Tag>}
            <span className="dim">{plural(s.devices.length, 'device')}</span>
          </header>
          <div className="in stack">
            {s.differs.length > 0 && (
              <ul>
                {s.differs.map((d) => (
                  <li key={d}>{d}</li>
                ))}
              </ul>
            )}
            <p className="small">{s.devices.slice(0, 40).join(', ')}{s.devices.length > 40 && ` and ${s.devices.length - 40} more`}</p>
          </div>
        </section>
      ))}
    </div>
  );
}
