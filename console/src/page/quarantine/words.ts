import type { Parked, Settled } from '../../gen/tidemark/admin/v1/admin_pb';
import { plural } from '../../format/number';

const codes: Record<string, string> = {
  unique: 'another row has the same value',
  'missing-parent': 'a row it refers to is not here',
  rights: 'the device may not write there',
  rule: 'a rule refuses it',
  manual: 'a person must decide',
  depends: 'it waits for another one',
  constraint: 'a constraint refuses it',
  type: 'a value does not fit its column',
  isolated: 'the device is in quarantine as a whole',
  schema: 'it was written under another schema',
};

/** codeWords explains a code shortly; codes that are new to this page stay as they are. */
export function codeWords(code: string): string {
  return codes[code] ?? code.replaceAll('-', ' ');
}

export function title(p: Parked): string {
  return p.summary || plural(p.operations, 'operation');
}

/** outcome says what became of a deed, of all that it settled. */
export function outcome(list: Settled[]): { text: string; waits: string } {
  const n = (s: string) => list.filter((x) => x.status === s).length;
  const parts: string[] = [];
  const applied = n('applied') + n('merged');
  if (applied) parts.push(`${plural(applied, 'transaction')} applied`);
  if (n('discarded')) parts.push(`${plural(n('discarded'), 'transaction')} discarded`);
  const still = list.filter((x) => x.status === 'quarantined');
  return { text: parts.join(', '), waits: still[0]?.reason ?? (still.length ? 'It waits still.' : '') };
}
