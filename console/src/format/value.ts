import { create } from '@bufbuild/protobuf';
import { KeySchema, ValueSchema, type Key, type Value } from '../gen/tidemark/admin/v1/admin_pb';

/** plain is a value as text for people. What is absent is "". */
export function plain(v: Value | undefined): string {
  switch (v?.kind.case) {
    case 'integer':
      return v.kind.value.toString();
    case 'real':
      return real(v.kind.value);
    case 'text':
      return v.kind.value;
    case 'blob':
      return `x'${hex(v.kind.value.slice(0, 24))}${v.kind.value.length > 24 ? '…' : ''}' (${v.kind.value.length} bytes)`;
    case 'null':
      return 'NULL';
    default:
      return '';
  }
}

/** real keeps a fraction visible: 3.0 is not the integer 3. */
export function real(n: number): string {
  const s = String(n);
  return Number.isInteger(n) && !s.includes('e') ? s + '.0' : s;
}

export function isNull(v: Value | undefined): boolean {
  return v?.kind.case === 'null';
}
export function isAbsent(v: Value | undefined): boolean {
  return v?.kind.case === undefined;
}

export function hex(b: Uint8Array): string {
  return Array.from(b, (n) => n.toString(16).padStart(2, '0')).join('');
}
export function unhex(s: string): Uint8Array<ArrayBuffer> | undefined {
  const t = s.replace(/\s+/g, '');
  if (t.length % 2 !== 0 || /[^0-9a-fA-F]/.test(t)) return undefined;
  return Uint8Array.from(t.match(/../g) ?? [], (p) => parseInt(p, 16));
}

/** sameValue says whether two values are the same one, of the same type. */
export function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  return valueText(a) === valueText(b);
}

// ---- keys in addresses ----

/** valueText writes a value so that parseValue reads it back: i5, r2.5, tabc, b00ff, n. */
export function valueText(v: Value | undefined): string {
  switch (v?.kind.case) {
    case 'integer':
      return 'i' + v.kind.value;
    case 'real':
      return 'r' + v.kind.value;
    case 'text':
      return 't' + v.kind.value;
    case 'blob':
      return 'b' + hex(v.kind.value);
    case 'null':
      return 'n';
    default:
      return '';
  }
}

export function parseValue(s: string): Value | undefined {
  const rest = s.slice(1);
  switch (s[0]) {
    case 'i':
      return /^-?\d+$/.test(rest) ? create(ValueSchema, { kind: { case: 'integer', value: BigInt(rest) } }) : undefined;
    case 'r':
      return rest !== '' && !Number.isNaN(Number(rest)) ? create(ValueSchema, { kind: { case: 'real', value: Number(rest) } }) : undefined;
    case 't':
      return create(ValueSchema, { kind: { case: 'text', value: rest } });
    case 'b': {
      const b = unhex(rest);
      return b && create(ValueSchema, { kind: { case: 'blob', value: b } });
    }
    case 'n':
      return rest === '' ? create(ValueSchema, { kind: { case: 'null', value: true } }) : undefined;
    default:
      return undefined;
  }
}

/** keyText is a row's key for an address: its values, each escaped, with commas between. */
export function keyText(k: Key | undefined): string {
  return (k?.values ?? []).map((v) => encodeURIComponent(valueText(v))).join(',');
}

export function parseKey(s: string): Key | undefined {
  if (s === '') return undefined;
  const values: Value[] = [];
  for (const part of s.split(',')) {
    let v: Value | undefined;
    try {
      v = parseValue(decodeURIComponent(part));
    } catch {
      return undefined;
    }
    if (!v) return undefined;
    values.push(v);
  }
  return create(KeySchema, { values });
}

/** keyPlain is a row's key for people. */
export function keyPlain(k: Key | undefined): string {
  return (k?.values ?? []).map(plain).join(', ');
}
