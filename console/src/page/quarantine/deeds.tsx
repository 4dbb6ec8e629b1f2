import { useQueryClient } from '@tanstack/react-query';
import type { Parked, SettleResponse } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { plural } from '../../format/number';
import type { Question } from '../../ui/ask';
import { say } from '../../ui/toast';
import { decide } from './edits';
import { outcome, title } from './words';

/** useSettle has all that a settled transaction touches asked again, and says what became of it. */
export function useSettle() {
  const client = useQueryClient();
  return async (p: Promise<SettleResponse>): Promise<SettleResponse> => {
    try {
      return await p;
    } finally {
      for (const k of ['quarantine', 'overview', 'fleet', 'device', 'conflicts']) void client.invalidateQueries({ queryKey: [k] });
    }
  };
}

/** useDeeds makes the questions behind retry, discard and the decisions, for one or for many. */
export function useDeeds(ask: (q: Question) => void, clear: () => void) {
  const settle = useSettle();
  const each = async (list: Parked[], run: (p: Parked) => Promise<SettleResponse>) => {
    const all: SettleResponse['settled'] = [];
    const done = new Set<string>();
    for (const p of list) {
      // What waited for an earlier one of them may be settled by now.
      if (done.has(p.id)) continue;
      const r = await settle(run(p));
      for (const s of r.settled) {
        all.push(s);
        if (s.status !== 'quarantined') done.add(s.id);
      }
    }
    const o = outcome(all);
    if (o.text) say(o.text);
    if (o.waits && !o.text) throw new Error(`It waits still: ${o.waits}`);
    if (o.waits) say(`Waits still: ${o.waits}`);
    clear();
  };
  const name = (list: Parked[]) => (list.length === 1 ? title(list[0]!) : plural(list.length, 'transaction'));
  const waiting = (list: Parked[]) => new Set(list.flatMap((p) => p.dependants)).size;
  return {
    retry: (list: Parked[]) =>
      list.length > 0 &&
      ask({
        title: `Retry ${name(list)}`,
        text: `Tried again under the rules, rights and data of now${waiting(list) ? `; then ${plural(waiting(list), 'transaction')} that ${waiting(list) === 1 ? 'waits' : 'wait'} for it` : ''}. What does not fit stays in quarantine.`,
        verb: 'Retry',
        run: () => each(list, (p) => hub.quarantine.retry({ id: p.id, version: p.version })),
      }),
    discard: (list: Parked[]) =>
      list.length > 0 &&
      ask({
        title: `Discard ${name(list)}`,
        text: `It is never applied. The device takes the change back, and its app sees the hub’s rows again; the change itself stays readable in the journal.${waiting(list) ? ` ${plural(waiting(list), 'transaction')} that ${waiting(list) === 1 ? 'builds' : 'build'} on it ${waiting(list) === 1 ? 'is' : 'are'} tried again without it.` : ''}`,
        verb: 'Discard',
        danger: true,
        reason: 'required',
        draft: 'discard',
        run: (reason) => each(list, (p) => hub.quarantine.discard({ id: p.id, version: p.version, reason })),
      }),
    take: (list: Parked[], side: 'hub' | 'edge') =>
      list.length > 0 &&
      ask({
        title: side === 'hub' ? `Keep theirs: ${name(list)}` : `Take ours: ${name(list)}`,
        text: side === 'hub' ? 'Where both changed a column, the hub’s value stays; the rest of the transaction is applied.' : 'Where both changed a column, the device’s value is written over the hub’s; the rest of the transaction is applied.',
        verb: side === 'hub' ? 'Keep theirs' : 'Take ours',
        run: () =>
          each(list, async (p) => {
            const now = await hub.quarantine.get({ id: p.id });
            const version = now.parked?.version ?? p.version;
            const edits = decide(now.operations, side);
            return edits.length ? hub.quarantine.edit({ id: p.id, version, edits }) : hub.quarantine.retry({ id: p.id, version });
          }),
      }),
  };
}
export type Deeds = ReturnType<typeof useDeeds>;
