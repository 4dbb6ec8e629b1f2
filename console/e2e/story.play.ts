import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { faults, start, stop } from './browser';
import { cast } from './cast';
import { looks, slight } from './look';
import { stage } from './stage';
import { apart } from './step/apart';
import { enrolling } from './step/enrol';
import { enter } from './step/enter';
import { leave } from './step/leave';
import { quarantine } from './step/quarantine';
import { wrong } from './step/wrong';

beforeAll(start);
afterEach(async (t) => {
  if (t.task.result?.state !== 'fail') return;
  for (const [name, page] of Object.entries(cast)) await page.screenshot({ path: join(stage.shots, `failed-${name}.png`) }).catch(() => {});
});
afterAll(async () => {
  writeFileSync(join(stage.shots, 'findings.txt'), [`${looks} looks`, ...faults, '--- slight', ...slight].join('\n') + '\n');
  await stop();
});

enter();
enrolling();
apart();
quarantine();
wrong();
leave();

test('on none of all these pages did anything go wrong', () => {
  console.log(`${looks} looks`);
  expect([...new Set(faults), ...slight]).toEqual([]);
});
