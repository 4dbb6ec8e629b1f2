import { Button } from '@mantine/core';
import type { TimelineEntry } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages } from '../../hub/query';
import { plural } from '../../format/number';
import { full, ms, span } from '../../format/time';
import { Empty, FaultNote, Loading } from '../../ui/parts';

/** Timeline is what happened with a device, newest first, with each day's date once. */
export function Timeline({ id }: { id: string }) {
  const pages = usePages(
    ['device', id, 'timeline'],
    (pageToken, signal) => hub.fleet.timeline({ id, page: { pageSize: 100, pageToken } }, { signal }),
    (r) => ({ items: r.entries, next: r.nextPageToken }),
  );
  if (pages.loading && !pages.fault) return <Loading what="the timeline" />;
  if (pages.items.length === 0) return pages.fault ? <div className="in"><FaultNote fault={pages.fault} /></div> : <Empty title="Nothing happened yet." />;
  let day = '';
  return (
    <ol className="timeline">
      {pages.items.map((e, i) => {
        const date = full(e.at).slice(0, 10);
        const fresh = date !== day;
        day = date;
        return (
          <Entry key={`${full(e.at)}${e.kind}${i}`} e={e} date={fresh ? date : ''} />
        );
      })}
      {pages.more && (
        <Button variant="default" size="compact-sm" onClick={pages.loadMore} loading={pages.fetching} mt={8}>
          Older
        </Button>
      )}
    </ol>
  );
}

function Entry({ e, date }: { e: TimelineEntry; date: string }) {
  const session = e.kind === 'session';
  return (
    <>
      {date && <li className="day">{date}</li>}
      <li className={e.error ? 'bad' : session ? '' : 'event'}>
        <time title={full(e.at)}>{full(e.at).slice(11)}</time>
        <i />
        <div>
          {session ? <Session e={e} /> : <b>{e.kind.replaceAll('-', ' ')}</b>} {session ? <span className="dim small">{e.detail}</span> : e.detail}
          {e.error && <div className="is-alarm">{e.error}</div>}
        </div>
      </li>
    </>
  );
}

function Session({ e }: { e: TimelineEntry }) {
  const parts: string[] = [];
  if (e.transactionsIn > 0n) parts.push(`${plural(e.transactionsIn, 'transaction')} in`);
  if (e.rowsOut > 0n) parts.push(`${plural(e.rowsOut, 'row')} out`);
  const long = e.at && e.until ? `for ${span(ms(e.until) - ms(e.at))}` : 'still on';
  return (
    <>
      Session {long}
      {parts.length ? `: ${parts.join(', ')}` : ', nothing to move'}
    </>
  );
}
