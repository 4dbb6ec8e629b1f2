import { DeviceState, Level } from '../../gen/tidemark/admin/v1/admin_pb';
import { firstDevices } from '../../hub/ahead';
import { levelOf } from '../../format/level';

/** What the fleet's address says about which devices are shown, and in which order. */
export interface Filters {
  search: string;
  levels: string[];
  states: string[];
  sort: string;
  connected: boolean;
}

export const stateNames: Record<string, DeviceState> = {
  invited: DeviceState.INVITED,
  active: DeviceState.ACTIVE,
  revoked: DeviceState.REVOKED,
};

export const sorts = ['worst', 'name', 'unsafe', 'outbox', 'seen', 'quarantined', 'clock', 'agent', 'schema'];

export function readFilters(q: URLSearchParams): Filters {
  const sort = q.get('sort') ?? '';
  return {
    search: q.get('q') ?? '',
    levels: q.getAll('level').filter((l) => levelOf(l) !== undefined),
    states: q.getAll('state').filter((s) => s in stateNames),
    sort: sorts.includes(sort.replace(/^-/, '')) ? sort : '',
    connected: q.get('connected') === 'yes',
  };
}

export function request(f: Filters, pageToken: string) {
  return {
    // What is seen at once comes first; the rest is read while nobody waits for it.
    page: { pageSize: pageToken ? 1000 : firstDevices, pageToken },
    search: f.search,
    states: f.states.map((s) => stateNames[s]!),
    levels: f.levels.map((l) => levelOf(l)).filter((l): l is Level => l !== undefined),
    sort: f.sort,
    connectedOnly: f.connected,
  };
}

/** nextSort is what a click on a column's head asks for: its order, then turned round, then worst first. */
export function nextSort(now: string, column: string): string {
  if (now === column) return '-' + column;
  if (now === '-' + column) return '';
  return column;
}

export function anyFilter(f: Filters): boolean {
  return f.search !== '' || f.levels.length > 0 || f.states.length > 0 || f.connected;
}
