import { Button, Checkbox, TextInput, CloseButton } from '@mantine/core';
import { useState } from 'react';
import type { Grant } from '../../gen/tidemark/admin/v1/admin_pb';

const verbs = ['read', 'insert', 'update', 'delete'] as const;
export interface GrantDraft {
  scope: string;
  read: boolean;
  insert: boolean;
  update: boolean;
  delete: boolean;
}
export const everything: GrantDraft = { scope: 'all', read: true, insert: true, update: true, delete: true };

export function grantText(g: GrantDraft | Grant): string {
  const on = verbs.filter((v) => g[v]);
  if (on.length === 4) return 'reads and writes';
  if (on.length === 0) return 'nothing';
  return on.length === 1 && g.read ? 'reads only' : on.join(', ');
}

export function draftGrants(grants: Grant[]): GrantDraft[] {
  return grants.map(({ scope, read, insert, update, delete: del }) => ({ scope, read, insert, update, delete: del }));
}

/** readGrants leaves out lines without a scope. */
export function readGrants(drafts: GrantDraft[]): GrantDraft[] {
  return drafts.map((g) => ({ ...g, scope: g.scope.trim() })).filter((g) => g.scope !== '');
}

/** GrantEditor edits which scopes a device has, and what it may do in each. */
export function GrantEditor({ initial, onChange }: { initial: GrantDraft[]; onChange: (g: GrantDraft[]) => void }) {
  const [list, setList] = useState(initial.length ? initial : [everything]);
  const put = (next: GrantDraft[]) => {
    setList(next);
    onChange(next);
  };
  const change = (i: number, part: Partial<GrantDraft>) => put(list.map((g, j) => (i === j ? { ...g, ...part } : g)));
  return (
    <fieldset className="grants">
      <legend>Scopes</legend>
      {list.map((g, i) => (
        <div key={i} className="grant">
          <TextInput aria-label={`Scope ${i + 1}`} placeholder="all, store:7 …" value={g.scope} onChange={(e) => change(i, { scope: e.currentTarget.value })} />
          <div className="row">
            {verbs.map((v) => (
              <Checkbox key={v} size="xs" label={v} checked={g[v]} onChange={(e) => change(i, { [v]: e.currentTarget.checked })} />
            ))}
            <span className="grow" />
            <CloseButton aria-label={`Remove scope ${g.scope || i + 1}`} onClick={() => put(list.filter((_, j) => j !== i))} />
          </div>
        </div>
      ))}
      <Button variant="default" size="compact-sm" onClick={() => put([...list, { ...everything, scope: '' }])}>
        Another scope
      </Button>
    </fieldset>
  );
}
