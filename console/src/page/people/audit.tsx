import { Button, TextInput } from '@mantine/core';
import { useEffect, useState } from 'react';
import type { AuditEntry } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { usePages } from '../../hub/query';
import { full } from '../../format/time';
import { count, short } from '../../format/number';
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
        <Check />
      </div>
      <FaultNote fault={pages.fault} />
      {pages.loading && !pages.fault && <Loading what="the audit" />}
      {!pages.loading && pages.items.length === 0 && !pages.fault && <Empty title="No entries match." />}
      {pages.items.length > 0 && (
        <div className="sheet scroll-x" tabIndex={0} role="region" aria-label="Audit">
          <table className="plain cards">
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

/** Check has the hub look whether an entry was changed or taken out. */
function Check() {
  const [said, setSaid] = useState<{ text: string; tone: string }>();
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      const r = await hub.people.checkAudit({});
      setSaid(r.wrong ? { text: `The audit is not whole: ${r.wrong}`, tone: 'alarm' } : { text: `All ${count(r.entries)} entries are as they were written.`, tone: 'ok' });
    } catch (e) {
      const f = faultOf(e);
      setSaid({ text: `${f.text} ${f.hint}`, tone: 'alarm' });
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button variant="default" onClick={() => void run()} loading={busy}>
        Is it whole?
      </Button>
      <span role="status">{said && <span className={`is-${said.tone}`}>{said.text}</span>}</span>
    </>
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
      <td className="num nowrap" data-label="When"><span>{full(e.at)}</span></td>
      <td data-label="Who">
        <span>{e.who || <span className="dim">nobody</span>}</span>
        <div className="small dim">{e.from}</div>
      </td>
      <td className="nowrap" data-label="Action">
        <span>{e.action} {e.error && <Tag tone="alarm">{/^the hub stopped before/.test(e.error) ? 'cut off' : 'refused'}</Tag>}</span>
      </td>
      <td className="mono" title={e.subject} data-label="To what">
        <span>{short(e.subject)}</span>
      </td>
      <td data-label={e.error || list.length > 0 ? 'Before, after' : ''}>
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
