import { Button, Progress } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { DeviceState, type Device } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf, type Fault } from '../../hub/fault';
import { hubNow } from '../../hub/live';
import { usePages, useRole } from '../../hub/query';
import { useDraft } from '../../edit/draft';
import { plural } from '../../format/number';
import { href, useRoute } from '../../route/router';
import { Ago, Empty, FaultNote, Loading, Tag } from '../../ui/parts';
import { Search } from '../fleet/fleet';
import { stage, tally, type Round } from './progress';

/** Verify has devices compare every row with the hub, and shows each tell what it found. */
export function Verify() {
  const { query } = useRoute();
  const search = query.get('q') ?? '';
  const { operator } = useRole();
  const client = useQueryClient();
  const [round, setRound, drop] = useDraft<Round>('verify', { since: 0, ids: [] });
  const [asking, setAsking] = useState(0);
  const [fault, setFault] = useState<Fault>();
  const pages = usePages(
    ['fleet', 'verify', search],
    (pageToken, signal) => hub.fleet.list({ search, states: [DeviceState.ACTIVE], sort: 'name', page: { pageSize: 1000, pageToken } }, { signal }),
    (r) => ({ items: r.devices, next: r.nextPageToken }),
  );
  const on = round.ids.length > 0;
  const begin = async (list: Device[]) => {
    setFault(undefined);
    setRound({ since: hubNow() - 1_000, ids: list.map((d) => d.id) });
    try {
      for (const [i, d] of list.entries()) {
        setAsking(i + 1);
        await hub.fleet.askVerify({ id: d.id });
      }
    } catch (e) {
      setFault(faultOf(e));
    } finally {
      setAsking(0);
      void client.invalidateQueries({ queryKey: ['fleet'] });
    }
  };
  const n = tally(pages.items, round);
  const done = n.equal + n.differs;
  return (
    <div className="stack">
      <p className="dim">Each device compares all rows that it holds with the hub’s, and says what differs. Nothing is changed. Devices that are not connected begin when they call.</p>
      <div className="filters">
        <Search value={search} label="Search name, id, scope" />
        {operator && (
          <Button disabled={pages.items.length === 0} loading={asking > 0} onClick={() => void begin(pages.items)}>
            Verify {search ? `these ${pages.items.length}` : plural(pages.items.length, 'device')}
          </Button>
        )}
        {on && (
          <Button variant="default" onClick={drop}>
            Forget this round
          </Button>
        )}
      </div>
      <FaultNote fault={fault ?? pages.fault} />
      {pages.loading && !pages.fault && <Loading what="the devices" />}
      {!pages.loading && pages.items.length === 0 && <Empty title="No active device matches." />}
      {on && (
        <section className="sheet" aria-label="Progress">
          <header>
            <h2 role="status">
              {done} of {plural(round.ids.length, 'device')} told: {n.equal} equal{n.differs > 0 && <span className="is-alarm">, {n.differs} differ</span>}
            </h2>
            <span className="dim">
              {n.checks > 0 && `${n.checks} checking`} {n.waits > 0 && `${n.waits} waiting for ${n.waits === 1 ? 'its' : 'their'} call`}
            </span>
          </header>
          <div className="in">
            <Progress value={(100 * done) / Math.max(1, round.ids.length)} color={n.differs ? 'red' : undefined} aria-label="Devices that told" />
          </div>
        </section>
      )}
      <ul className="verify-list">
        {pages.items.slice(0, 500).map((d) => (
          <Line key={d.id} d={d} round={round} />
        ))}
      </ul>
    </div>
  );
}

function Line({ d, round }: { d: Device; round: Round }) {
  const at = round.ids.includes(d.id) ? stage(d, round) : undefined;
  const v = d.verified;
  return (
    <li>
      <a className="clip grow" href={href(['device', d.id])}>
        {d.name || d.id}
      </a>
      {at === 'waits' && <Tag>waits for its call</Tag>}
      {at === 'checks' && <Tag tone="notice">checking …</Tag>}
      {at !== 'waits' && at !== 'checks' && v?.at && (
        <span className="small nowrap">
          {v.equal ? <span className="is-ok">equal, {plural(v.rows, 'row')}</span> : <span className="is-alarm" title={v.tables.join(', ')}>{plural(v.differing, 'row')} differ</span>} <span className="dim"><Ago t={v.at} /></span>
        </span>
      )}
      {!at && !v?.at && <span className="small dim">never verified</span>}
    </li>
  );
}
