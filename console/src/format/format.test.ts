import { create } from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { KeySchema, ValueSchema, type Value } from '../gen/tidemark/admin/v1/admin_pb';
import { bytes, count, plural } from './number';
import { ago, offset, span } from './time';
import { keyText, parseKey, plain, sameValue } from './value';

const value = (kind: Value['kind']) => create(ValueSchema, { kind });

describe('time', () => {
  it.each([
    [450, '450 ms'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [3_600_000 * 5 + 60_000 * 12, '5 h 12 min'],
    [86_400_000 * 3 + 3_600_000 * 4, '3 d 4 h'],
    [86_400_000 * 40, '40 d'],
  ])('%i ms is %s', (n, want) => expect(span(n)).toBe(want));
  it('tells the past, the present, the future and never', () => {
    const t = create(TimestampSchema, { seconds: 1000n });
    expect(ago(t, 1_000_000 + 720_000)).toBe('12 min ago');
    expect(ago(t, 1_001_000)).toBe('just now');
    expect(ago(t, 1_000_000 - 3_600_000)).toBe('in 1 h');
    expect(ago(undefined, 0)).toBe('never');
  });
  it('says which way a clock is off', () => {
    expect(offset(create(DurationSchema, { seconds: 300n }))).toBe('5 min slow');
    expect(offset(create(DurationSchema, { seconds: -300n }))).toBe('5 min fast');
    expect(offset(create(DurationSchema, { nanos: 5 }))).toBe('right');
    expect(offset(undefined)).toBe('');
  });
});

describe('numbers', () => {
  it('counts', () => {
    expect(count(10000)).toBe('10,000');
    expect(plural(1n, 'change')).toBe('1 change');
    expect(plural(0, 'device holds', 'devices hold')).toBe('0 devices hold');
    expect(bytes(53_200_000_000n)).toBe('53.2 GB');
    expect(bytes(999)).toBe('999 B');
  });
});

describe('keys in addresses', () => {
  it.each<Value['kind'][]>([
    [{ case: 'integer', value: -(2n ** 63n) }],
    [{ case: 'real', value: 2.5 }],
    [{ case: 'text', value: 'a,b/c?d#e%20 é' }],
    [{ case: 'text', value: '' }],
    [{ case: 'blob', value: new Uint8Array([0, 255]) }],
    [{ case: 'null', value: true }],
  ])('brings %o back', (kind) => {
    const key = create(KeySchema, { values: [value(kind), value({ case: 'integer', value: 7n })] });
    const back = parseKey(keyText(key));
    expect(back?.values).toHaveLength(2);
    expect(sameValue(back?.values[0], key.values[0])).toBe(true);
  });
  it('refuses what is no key', () => {
    for (const s of ['', 'x1', 'i1.5', 'iabc', 'b0', 'r', '%', 'nx']) expect(parseKey(s)).toBeUndefined();
  });
  it('keeps types apart', () => {
    expect(sameValue(value({ case: 'integer', value: 1n }), value({ case: 'text', value: '1' }))).toBe(false);
    expect(plain(value({ case: 'real', value: 3 }))).toBe('3.0');
  });
});
