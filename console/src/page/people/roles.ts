import { Role } from '../../gen/tidemark/admin/v1/admin_pb';

export const roles = [
  { role: Role.VIEWER, name: 'viewer', may: 'sees everything' },
  { role: Role.OPERATOR, name: 'operator', may: 'mends: devices, conflicts, quarantine' },
  { role: Role.ADMIN, name: 'admin', may: 'people and tokens too' },
];
export const roleOptions = roles.map((r) => ({ value: String(r.role), label: `${r.name}: ${r.may}` }));

export function roleName(r: Role): string {
  return roles.find((x) => x.role === r)?.name ?? 'none';
}
