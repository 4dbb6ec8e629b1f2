import { Button } from '@mantine/core';
import type { Version } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { usePages } from '../../hub/query';
import { short } from '../../format/number';
import { full, ms, span } from '../../format/time';
import { keyPlain, parseKey } from '../../format/value';
import { href } from '../../route/router';
import { Ago, Empty, Fact, FaultNote, Loading, Tag, Val } from '../../ui/parts';
import { byWords, Changed } from '../conflicts/receipt';

/** History is who wrote which value of a row when, as far as the journal reaches. */
export function History({ table, text }: { table: string; text: string }) {
  const key = parseKey(text);
  const pages = usePages(
    ['data', 'history', table, text],
    (pageToken, signal) => hub.data.history({ table, key, page: { pageSize: 50, pageToken } }, { signal }),
    (r) => ({ items: r.versions, next: r.nextPageToken }),
  );
  if (!key) return <Empty alone title="This address names no row."><a href={href(['data', table])}>To the table</a></Empty>;
  const first = pages.first;
  return (
    <>
      <h1>
        {table} {keyPlain(key)}
      </h1>
      {pages.items.length === 0 && <FaultNote fault={pages.fault} />}
      {pages.loading && !pages.fault && <Loading what="the row’s history" />}
      {first && (
        <section className="sheet" aria-label="The row now">
          <header>
            <h2>Now</h2>
          </header>
          {first.now.length === 0 ? (
            <div className="in dim">The row is not there.</div>
          ) : (
            <dl className="facts in">
              {first.columns.map((c, i) => (
                <Fact key={c} name={c}>
                  <Val v={first.now[i]} />
                </Fact>
              ))}
            </dl>
          )}
        </section>
      )}
      {first && (
        <section className="sheet" aria-label="Who wrote what">
          <header>
            <h2>Who wrote what, newest first</h2>
          </header>
          {pages.items.length === 0 && <Empty title="The journal knows of no writes to this row." />}
          <div className="versions">
            {pages.items.map((v, i) => (
              <OneVersion key={v.transaction + i} v={v} />
            ))}
          </div>
          {first.cut && !pages.more && <div className="in dim small">There were older writes; the journal no longer has their values.</div>}
          {pages.more && (
            <div className="in">
              <Button variant="default" size="compact-sm" onClick={pages.loadMore} loading={pages.fetching}>
                Older
              </Button>
            </div>
          )}
        </section>
      )}
    </>
  );
}

function OneVersion({ v }: { v: Version }) {
  const late = v.at && v.written ? ms(v.at) - ms(v.written) : 0;
  const bad = v.status === 'quarantined' || v.status === 'discarded';
  return (
    <div className="version">
      <div>
        <b>{v.device ? <a href={href(['device', v.device])}>{v.deviceName || short(v.device)}</a> : v.deviceName || 'the hub'}</b>
        <div className="small dim">
          <Ago t={v.written ?? v.at} />
          <br />
          {full(v.written ?? v.at)}
          {late > 60_000 && (
            <>
              <br />
              came here {span(late)} later
            </>
          )}
        </div>
      </div>
      <div>
        <div className="row">
          <Tag tone={v.kind === 'delete' ? 'alarm' : undefined}>{v.kind}</Tag>
          {v.status && v.status !== 'applied' && <Tag tone={bad ? 'warning' : 'notice'}>{v.status}</Tag>}
          {v.transaction && <span className="small dim mono">{short(v.transaction)}</span>}
        </div>
        <table>
          <tbody>
            {v.columns.map((c) => (
              <tr key={c.name}>
                <td>{c.name}</td>
                <td>{v.kind === 'delete' ? <Val v={c.base} /> : <Changed base={c.base} v={c.new} />}</td>
                {v.kind === 'update' && c.base?.kind.case !== undefined && !byWords(c.base, c.new) && (
                  <td className="dim small">
                    was <Val v={c.base} />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
