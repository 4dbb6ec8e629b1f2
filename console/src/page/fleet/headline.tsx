import { lazy, Suspense } from 'react';
import type { OverviewResponse } from '../../gen/tidemark/admin/v1/admin_pb';
import { faultOf } from '../../hub/fault';
import { bytes, count, plural } from '../../format/number';
import { durationMs, ms, span } from '../../format/time';
import { href } from '../../route/router';
import { FaultNote } from '../../ui/parts';

const Spark = lazy(() => import('./spark'));

export type Tone = 'ok' | 'notice' | 'warning' | 'alarm';

/** headline puts the fleet's state into a sentence, and says how bad it is. */
export function headline(o: OverviewResponse): { tone: Tone; text: string; age?: string } {
  const age = durationMs(o.oldestUnsafe);
  if (o.devices === 0) return { tone: 'ok', text: 'No devices yet.' };
  if (o.unsafeDevices === 0 && age === 0) return { tone: 'ok', text: 'Everybody’s work is safe.' };
  const hours = age / 3_600_000;
  const tone = hours >= 24 ? 'alarm' : hours >= 1 ? 'warning' : hours >= 1 / 12 ? 'notice' : 'ok';
  return { tone, text: 'is the age of the oldest change that is not at the hub', age: span(age) };
}

export function Headline({ overview: o, fault }: { overview: OverviewResponse | undefined; fault: unknown }) {
  if (fault) return <FaultNote fault={faultOf(fault)} />;
  if (!o) return <section className="headline unknown dim" aria-busy="true">Asking the hub whether all work is safe …</section>;
  const h = headline(o);
  const points = o.unsafeHistory.filter((p) => p.at).map((p) => ({ at: ms(p.at!) / 1000, age: durationMs(p.oldest) / 1000 }));
  return (
    <section className={`headline ${h.tone}`} aria-label="The fleet’s state">
      <div className="say">
        {h.age ? (
          <>
            <p className="big">
              <strong className="num">{h.age}</strong> <span>{h.text}</span>
            </p>
            <p>
              at <a href={href(['device', o.unsafeDevice])}>{o.unsafeName || o.unsafeDevice}</a>.{' '}
              {plural(o.unsafeDevices, 'device holds', 'devices hold')} work that is not safe yet, as {o.unsafeDevices === 1 ? 'it' : 'they'} last said.
            </p>
          </>
        ) : (
          <>
            <p className="big">
              <strong>{h.text}</strong>
            </p>
            <p>{o.devices === 0 ? <a href="#/enrol">Enrol the first one</a> : 'No device holds a change that is not at the hub, as each last said.'}</p>
          </>
        )}
      </div>
      <div className="line" aria-hidden="true">
        {points.length > 1 && (
          <Suspense fallback={null}>
            <Spark points={points} tone={h.tone} />
          </Suspense>
        )}
      </div>
      <Needs o={o} />
    </section>
  );
}

/** Needs lists what waits for a person, each with the way there; what is nought is told once, quietly. */
function Needs({ o }: { o: OverviewResponse }) {
  const oldest = durationMs(o.oldestQuarantined);
  const needs = [
    { n: o.manual, text: plural(o.manual, 'conflict waits', 'conflicts wait') + ' for a decision', to: '#/conflicts?tab=inbox', tone: 'warning' },
    { n: o.quarantined, text: `${count(o.quarantined)} in quarantine${oldest ? `, oldest ${span(oldest)}` : ''}`, to: '#/quarantine', tone: 'warning' },
    { n: o.held, text: plural(o.held, 'copied file is', 'copied files are') + ' held', to: '#/fleet?level=alarm', tone: 'alarm' },
    { n: o.receiptsNew, text: plural(o.receiptsNew, 'conflict') + ' decided by rule, not looked at', to: '#/conflicts?state=new', tone: '' },
  ].filter((x) => x.n > 0);
  return (
    <ul className="needs">
      {needs.map((x) => (
        <li key={x.to}>
          <a className={`tag ${x.tone}`} href={x.to}>
            {x.text}
          </a>
        </li>
      ))}
      {needs.length === 0 && o.devices > 0 && <li className="dim">Nothing waits for you.</li>}
      {o.replicas
        .filter((r) => r.fault)
        .map((r) => (
          <li key={r.address}>
            <span className="tag warning">
              replica {r.address} is not read: {r.fault}
            </span>
          </li>
        ))}
      <li className="dim num facts-line">
        {count(o.connected)} of {plural(o.devices, 'device')} connected · {plural(o.sessions, 'session')}
        {o.waiting > 0 && `, ${o.waiting} waiting for their turn`} · hub uses {bytes(o.memory)}
      </li>
    </ul>
  );
}
