import './device.css';
import { Button, Menu } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { DeviceState, type Device, type Life } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { faultOf } from '../../hub/fault';
import { useRole } from '../../hub/query';
import { bytes, count, plural, short } from '../../format/number';
import { durationMs, offset, span } from '../../format/time';
import { toneOf } from '../../format/level';
import { useKeys } from '../../keys/keys';
import { go, href, useRoute } from '../../route/router';
import { Ask, type Question } from '../../ui/ask';
import { Ago, Empty, Fact, FaultNote, Loading, Mark, Tag } from '../../ui/parts';
import { States } from '../fleet/table';
import { grantText } from '../enrol/grants';
import { useActions, type Action } from './actions';
import { Timeline } from './timeline';

export default function DevicePage() {
  const { parts } = useRoute();
  const id = parts[1] ?? '';
  const q = useQuery({ queryKey: ['device', id], queryFn: ({ signal }) => hub.fleet.get({ id }, { signal }), enabled: id !== '' });
  useKeys('Device', [{ keys: 'u, Escape', label: 'back to the fleet', run: () => go('#/fleet') }]);
  if (id === '') return <Empty alone title="Which device?"><a href="#/fleet">To the fleet</a></Empty>;
  const d = q.data?.device;
  if (!d) return q.error ? <div className="page"><h1>No device to show</h1><FaultNote fault={faultOf(q.error)} retry={() => void q.refetch()} /><a href="#/fleet">To the fleet</a></div> : <Loading what="the device" />;
  return (
    <div className="page">
      <Title d={d} />
      <Summary d={d} />
      <div className="two">
        <section className="sheet" aria-label="Timeline">
          <header><h2>Timeline</h2></header>
          <Timeline id={d.id} />
        </section>
        <div className="stack">
          <Facts d={d} />
          <Rights d={d} />
          <Lives lives={q.data?.lives ?? []} />
        </div>
      </div>
    </div>
  );
}

function Title({ d }: { d: Device }) {
  const [question, setQuestion] = useState<Question>();
  const { operator } = useRole();
  const actions = useActions(d);
  const first = actions.filter((a) => a.first);
  const rest = actions.filter((a) => !a.first);
  useKeys('Device, actions', first.filter((a) => a.key).map((a) => ({ keys: a.key!, label: a.label.toLowerCase(), run: () => setQuestion(a.question) })), operator);
  return (
    <div className="title">
      <a href="#/fleet" className="small">Fleet</a>
      <span className="dim">/</span>
      <h1>{d.name || d.id}</h1>
      <States d={d} />
      {d.connected ? <Tag tone="ok">connected</Tag> : <span className="dim small">{d.seen ? <>seen <Ago t={d.seen} /></> : 'never seen'}</span>}
      <span className="grow" />
      {operator && (
        <>
          {first.map((a) => (
            <Button key={a.label} variant="default" onClick={() => setQuestion(a.question)}>{a.label}</Button>
          ))}
          <More actions={rest} choose={setQuestion} />
        </>
      )}
      <Ask question={question} onClose={() => setQuestion(undefined)} />
    </div>
  );
}

function More({ actions, choose }: { actions: Action[]; choose: (q: Question) => void }) {
  return (
    <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <Button variant="default">More</Button>
      </Menu.Target>
      <Menu.Dropdown>
        {actions.map((a) => (
          <Menu.Item key={a.label} color={a.question.danger ? 'red' : undefined} onClick={() => choose(a.question)}>
            {a.label}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** Summary says in a sentence whether this device's work is safe, and why it stands where it does. */
function Summary({ d }: { d: Device }) {
  const tone = toneOf(d.level);
  const age = durationMs(d.oldestUnsafe);
  return (
    <div className={`note ${tone === 'ok' ? '' : tone}`}>
      <div className="row">
        <Mark level={d.level} />
        <strong>{age > 0 ? `Its oldest unsafe change is ${span(age)} old; ${plural(d.outbox, 'transaction')} in its outbox.` : d.state === DeviceState.INVITED ? 'It has not joined yet.' : 'Its work is safe, as it last said.'}</strong>
      </div>
      {d.why && <p>{d.why}{d.quarantined > 0 && <>{' '}· <a href={href(['quarantine'], { device: d.id })}>open its quarantine</a></>}</p>}
      {d.reason && !d.why.includes(d.reason) && <p>Reason given: {d.reason}</p>}
    </div>
  );
}

function Facts({ d }: { d: Device }) {
  return (
    <section className="sheet" aria-label="Facts">
      <header><h2>Facts</h2></header>
      <dl className="facts in">
        <Fact name="Unsafe for">{durationMs(d.oldestUnsafe) > 0 ? span(durationMs(d.oldestUnsafe)) : 'safe'}</Fact>
        <Fact name="Outbox">{plural(d.outbox, 'transaction')}</Fact>
        <Fact name="Last progress">{d.progress ? <Ago t={d.progress} /> : 'never'}</Fact>
        <Fact name="Lag">{d.behind ? 'there is newer data for it' : 'up to date'}</Fact>
        <Fact name="Quarantine">{count(d.quarantined)}</Fact>
        <Fact name="Clock"><span className={d.clockAhead ? 'is-warning' : ''}>{offset(d.clockOffset) || 'unknown'}</span></Fact>
        <Fact name="Version">{d.agent || 'unknown'}</Fact>
        <Fact name="Database">{d.app || 'unknown'}</Fact>
        <Fact name="Schema">{d.schema ? `${d.schema}${d.schemaCurrent ? '' : ' (not the hub’s own)'}` : 'unknown'}</Fact>
        <Fact name="Free disk">{d.freeDisk > 0n ? bytes(d.freeDisk) : 'it does not say'}</Fact>
        <Fact name="Verified">{d.verified?.at ? <><Ago t={d.verified.at} />: {d.verified.equal ? `equal, ${plural(d.verified.rows, 'row')}` : <span className="is-alarm">{plural(d.verified.differing, 'row')} differ in {d.verified.tables.join(', ')}</span>}</> : 'never'}</Fact>
        <Fact name="Enrolled"><Ago t={d.created} /></Fact>
        {d.copyOf && <Fact name="Copy of"><a href={href(['device', d.copyOf])}>{short(d.copyOf)}</a></Fact>}
        <Fact name="Id"><span className="mono">{d.id}</span></Fact>
      </dl>
    </section>
  );
}

function Rights({ d }: { d: Device }) {
  return (
    <section className="sheet" aria-label="Scopes">
      <header><h2>Scopes</h2></header>
      <ul className="in stack-tight">
        {d.grants.map((g) => (
          <li key={g.scope} className="row"><span className="mono grow">{g.scope}</span><span className="dim small">{grantText(g)}</span></li>
        ))}
        {d.grants.length === 0 && <li className="dim">none: it sees and writes nothing</li>}
      </ul>
    </section>
  );
}

function Lives({ lives }: { lives: Life[] }) {
  if (lives.length === 0) return null;
  return (
    <section className="sheet" aria-label="Files">
      <header><h2>Files</h2><span className="dim small">a restored or copied file goes on as a new one</span></header>
      <ul className="in stack-tight">
        {lives.map((l) => (
          <li key={l.incarnation}>
            <div className="row">
              <span className="mono">{short(l.incarnation)}</span>
              {l.held && <Tag tone="alarm">held</Tag>}
              <span className="grow" />
              <span className="small dim">{plural(l.transactions, 'transaction')}, since <Ago t={l.began} /></span>
            </div>
            {l.ended && <div className="small dim">ended: {l.ended}</div>}
            {l.continues && <div className="small dim">continues {short(l.continues)}</div>}
          </li>
        ))}
      </ul>
    </section>
  );
}
