import './data.css';
import { useRoute } from '../../route/router';
import { Tabs } from '../../ui/tabs';
import { History } from './history';
import { RowsPage } from './rows';
import { Schemas } from './schemas';
import { Digests } from './digests';
import { Leases } from './leases';
import { Tables } from './tables';
import { Verify } from './verify';

/** DataPage is what the hub holds: #/data, #/data/TABLE, #/data/TABLE/KEY. */
export default function DataPage() {
  const { parts, query } = useRoute();
  const tab = query.get('tab') ?? 'tables';
  const table = parts[1];
  const key = parts[2];
  if (table !== undefined) {
    return (
      <div className="page">
        <div className="title">
          <a className="small" href="#/data">Data</a>
          <span className="dim">/</span>
          {key !== undefined ? <a className="small" href={`#/data/${encodeURIComponent(table)}`}>{table}</a> : <h1>{table}</h1>}
        </div>
        {key !== undefined ? <History table={table} text={key} /> : <RowsPage table={table} />}
      </div>
    );
  }
  return (
    <div className="page">
      <div className="title">
        <h1>Data</h1>
      </div>
      <Tabs
        label="Data"
        at={tab}
        tabs={[
          { name: 'tables', label: 'Tables', to: '#/data' },
          { name: 'digests', label: 'Scopes and digests', to: '#/data?tab=digests' },
          { name: 'verify', label: 'Verify', to: '#/data?tab=verify' },
          { name: 'schemas', label: 'Schemas', to: '#/data?tab=schemas' },
          { name: 'leases', label: 'Leases', to: '#/data?tab=leases' },
        ]}
      />
      {tab === 'digests' ? <Digests /> : tab === 'verify' ? <Verify /> : tab === 'schemas' ? <Schemas /> : tab === 'leases' ? <Leases /> : <Tables />}
    </div>
  );
}
