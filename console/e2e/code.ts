import { createHmac } from 'node:crypto';

const STEP = 30_000;

/** code is what an authenticator app shows for a secret in a step of thirty seconds. */
export function code(secret: string, step: number): string {
  const bits = [...secret.replace(/\s/g, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((b) => parseInt(b, 2)));
  const at = Buffer.alloc(8);
  at.writeBigUInt64BE(BigInt(step));
  const sum = createHmac('sha1', key).update(at).digest();
  const from = sum[19]! & 15;
  return String((sum.readUInt32BE(from) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

export const stepNow = (): number => Math.floor(Date.now() / STEP);

/** freshStep waits for a step after the one that was used: the hub takes one ahead of its clock. */
export async function freshStep(used: number): Promise<number> {
  while (stepNow() + 1 <= used) await new Promise((r) => setTimeout(r, 500));
  return Math.max(stepNow(), used + 1);
}
