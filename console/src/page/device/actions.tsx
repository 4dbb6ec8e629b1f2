import { TextInput } from '@mantine/core';
import { useRef } from 'react';
import { useQueryClient } from '@tanstack/react-query';
import { DeviceState, type Device, type Grant } from '../../gen/tidemark/admin/v1/admin_pb';
import { hub } from '../../hub/client';
import { plural } from '../../format/number';
import { say } from '../../ui/toast';
import type { Question } from '../../ui/ask';
import { GrantEditor, type GrantDraft, draftGrants, readGrants } from '../enrol/grants';

export interface Action {
  label: string;
  key?: string;
  first?: boolean; // a button of its own; the others are in the menu
  question: Question;
}

/** useActions lists what can be done with a device as it is now; each says what will happen. */
export function useActions(d: Device): Action[] {
  const client = useQueryClient();
  const name = d.name || d.id;
  const rename = useRef(name);
  const grants = useRef<GrantDraft[]>([]);
  const after = async (p: Promise<unknown>, done: string) => {
    try {
      await p;
      say(done);
    } finally {
      for (const k of ['device', 'fleet', 'overview']) void client.invalidateQueries({ queryKey: [k] });
    }
  };
  const act = (label: string, q: Omit<Question, 'title' | 'verb' | 'draft'> & { verb?: string }, more: Partial<Action> = {}): Action => ({
    label,
    ...more,
    question: { title: `${label}: ${name}`, verb: q.verb ?? label, draft: `${label}.${d.id}`, ...q },
  });
  const v = { id: d.id, version: d.version };
  const waits = d.connected ? 'It is connected and begins at once.' : 'It is not connected: it begins as soon as it calls.';
  const out: Action[] = [];
  if (d.state === DeviceState.ACTIVE) {
    out.push(act('Ask to sync', { text: `The device is told to send and fetch now. ${waits}`, run: () => after(hub.fleet.askSync({ id: d.id }), `${name} was asked to sync`) }, { first: true, key: 's' }));
    out.push(act('Ask to verify', { text: `The device compares every row it holds with the hub, and tells what differs. Nothing is changed. ${waits}`, run: () => after(hub.fleet.askVerify({ id: d.id }), `${name} was asked to verify`) }, { first: true, key: 'v' }));
  }
  if (d.state !== DeviceState.REVOKED) {
    if (d.paused) out.push(act('Resume', { text: 'Its sessions are let in again; its waiting work follows.', run: () => after(hub.fleet.resume(v), `${name} goes on`) }, { first: true, key: 'p' }));
    else out.push(act('Pause', { text: 'Its sessions are turned away until somebody resumes it. Its app goes on working; its work stays with it, unsafe, until then.', reason: 'required', run: (reason) => after(hub.fleet.pause({ ...v, reason }), `${name} is paused`) }, { first: true, key: 'p' }));
    if (d.isolated) out.push(act('Release', { text: 'What it handed in meanwhile is tried in order; what it hands in from now on is applied again.', run: () => after(hub.fleet.release(v), `${name} is released`) }));
    else out.push(act('Quarantine all it hands in', { verb: 'Quarantine', text: 'Everything that it hands in from now on is parked in the quarantine until somebody releases it. Its work is safe there, but nobody else sees it. It still receives.', reason: 'required', run: (reason) => after(hub.fleet.isolate({ ...v, reason }), `${name} is isolated`) }));
  }
  out.push(
    act('Rename', {
      text: 'Only the name that people see changes.',
      extra: <TextInput label="Name" defaultValue={name} onChange={(e) => (rename.current = e.currentTarget.value)} data-autofocus />,
      run: () => after(hub.fleet.rename({ ...v, name: rename.current.trim() }), `Renamed to ${rename.current.trim()}`),
    }),
  );
  if (d.state !== DeviceState.REVOKED) {
    out.push(
      act('Change scopes', {
        text: 'Rows of a scope that it loses leave its file at its next contact, once its own work in them is safe. Rows of a new scope are downloaded.',
        extra: <GrantEditor initial={draftGrants(d.grants)} onChange={(g) => (grants.current = g)} />,
        run: () => {
          const list: Omit<Grant, '$typeName'>[] = readGrants(grants.current.length ? grants.current : draftGrants(d.grants));
          return after(hub.fleet.setGrants({ ...v, grants: list }), `Scopes of ${name} changed`);
        },
      }),
    );
    if (d.held > 0) out.push(...judge(d, act, after));
    out.push(
      act('Revoke', {
        danger: true,
        text: `The device is shut out for good: its key no longer works.${d.outbox > 0n ? ` It still holds ${plural(d.outbox, 'transaction')} that ${d.outbox === 1n ? 'is' : 'are'} not at the hub; they can then only come by an export of its outbox.` : ''} Its data here stays.`,
        reason: 'required',
        run: (reason) => after(hub.fleet.revoke({ ...v, reason }), `${name} is revoked`),
      }),
    );
  }
  return out;
}

function judge(d: Device, act: (label: string, q: Omit<Question, 'title' | 'verb' | 'draft'>) => Action, after: (p: Promise<unknown>, done: string) => Promise<void>): Action[] {
  return [
    act('Let held copies go on', { text: 'Each held copy of its file becomes a device of its own, with the same scopes; its work is taken.', reason: 'optional', run: (reason) => after(hub.fleet.judge({ id: d.id, allow: true, reason }), 'The copies go on') }),
    act('End held copies', { danger: true, text: 'The held copies of its file never synchronise again. Work in them that is not at the hub stays there.', reason: 'required', run: (reason) => after(hub.fleet.judge({ id: d.id, allow: false, reason }), 'The copies were ended') }),
  ];
}
