import { Button, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { AuditEntry } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages } from '../../hub/query';
import { full } from '../../format/time';
import { short } from '../../format/number';
import { setQuery, useRoute } from '../../route/router';
import { Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { changes } from './changes';

export function Audit() {
  const { query } = useRoute();
  const f = { who: query.get('who') ?? '', subject: query.get('subject') ?? '', action: query.get('action') ?? '' };
  const pages = usePages(
    ['people', 'audit', f],
    (pageToken, signal) => hub.people.audit({ ...f, page: { pageSize: 100, pageToken } }, { signal }),
    (r) => ({ items: r.entries, next: r.nextPageToken }),
  );
  return (
    <div className="stack">
      <div className="filters" role="search" aria-label="Which entries">
        <Filter name="who" label="By whom" value={f.who} />
        <Filter name="action" label="Action, such as Fleet/" value={f.action} />
        <Filter name="subject" label="Id of what it was done to" value={f.subject} />
      </div>
      <FaultNote fault={pages.fault} />
      {pages.loading && !pages.fault && <Loading what="the audit" />}
      {!pages.loading && pages.items.length === 0 && !pages.fault && <Empty title="No entries match." />}
      {pages.items.length > 0 && (
        <div className="sheet scroll-x" tabIndex={0} role="region" aria-label="Audit">
          <table className="plain">
            <thead>
              <tr>
                <th>When</th>
                <th>Who</th>
                <th>Action</th>
                <th>To what</th>
                <th>Before and after</th>
              </tr>
            </thead>
            <tbody>
              {pages.items.map((e) => (
                <Entry key={e.id} e={e} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {pages.more && (
        <div>
          <Button variant="default" onClick={pages.loadMore} loading={pages.fetching}>
            Older
          </Button>
        </div>
      )}
    </div>
  );
}

function Filter({ name, label, value }: { name: string; label: string; value: string }) {
  const [text, setText] = useState(value);
  useEffect(() => {
    if (text === value) return;
    const t = setTimeout(() => setQuery({ [name]: text.trim() }), 250);
    return () => clearTimeout(t);
  }, [text, value, name]);
  return <TextInput aria-label={label} placeholder={label} value={text} onChange={(e) => setText(e.currentTarget.value)} />;
}

function Entry({ e }: { e: AuditEntry }) {
  const list = changes(e.before, e.after);
  return (
    <tr>
      <td className="num nowrap">{full(e.at)}</td>
      <td>
        {e.who || <span className="dim">nobody</span>}
        <div className="small dim">{e.from}</div>
      </td>
      <td className="nowrap">
        {e.action} {e.error && <Tag tone="alarm">refused</Tag>}
      </td>
      <td className="mono" title={e.subject}>
        {short(e.subject)}
      </td>
      <td>
        {e.error && <div className="is-alarm">{e.error}</div>}
        {list.map((c) => (
          <div key={c.name} className="small value">
            <b>{c.name}</b> {c.before !== undefined && <del>{c.before}</del>} {c.after !== undefined && <ins>{c.after}</ins>}
          </div>
        ))}
      </td>
    </tr>
  );
}
