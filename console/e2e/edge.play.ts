import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { desktop, faults, person, start, stop } from './browser';
import { poison } from './cast';
import { look, looks, slight } from './look';
import { cut, killAgent, mend, run, serving, sql, stage, until } from './stage';

// The page that an agent serves to its own machine: Berlin's, whose line to the hub is cut
// and mended. Oslo reaches the hub all the time. Nobody ever reloads the page.
let page: Page;

beforeAll(start);
afterEach(async (t) => {
  if (t.task.result?.state === 'fail') await page?.screenshot({ path: join(stage.shots, 'failed.png') }).catch(() => {});
});
afterAll(async () => {
  writeFileSync(join(stage.shots, 'findings.txt'), [`${looks} looks`, ...faults, '--- slight', ...slight].join('\n') + '\n');
  await stop();
});

const answer = (text: string | RegExp) => page.locator('.answer h2').getByText(text);
const quote = (s: string) => `'${s.replaceAll("'", "''")}'`;

test('all is well, and the page says so', async () => {
  ({ page } = await person());
  await page.goto(stage.url + '/');
  await answer('All work is safe').waitFor();
  await page.locator('.tag').getByText('online').waitFor();
  expect(await page.title()).toBe('All work is safe · berlin');
  await look(page, 'safe', { guide: 'light' });
});

test('the network is cut and the app writes: the page says what waits, and since when', async () => {
  await cut();
  await page.getByText('The hub cannot be reached.').waitFor();
  await answer('All work so far is safe').waitFor();
  await sql('berlin', `INSERT INTO visit VALUES ('b1', 'p3', 'r1', '2026-12-02 10:00', 45)`);
  await answer('1 transaction is not at the hub yet').waitFor();
  expect(await page.locator('#said').innerText()).toContain('1 transaction is not at the hub yet');
  await until('it is taken up', () => sql('berlin', 'SELECT count(*) FROM _tidemark_outbox WHERE state=0'), (n) => n === '1');
  await sql('berlin', `UPDATE visit SET minutes=50 WHERE id='b1'`);
  await answer('2 transactions are not at the hub yet').waitFor();
  await until('both are taken up', () => sql('berlin', 'SELECT count(*) FROM _tidemark_outbox WHERE state=0'), (n) => n === '2');
  await sql('berlin', `INSERT INTO room VALUES (${quote(poison)}, ${quote(poison)})`);
  await answer('3 transactions are not at the hub yet').waitFor();
  await page.locator('.rows').getByText(poison.slice(0, 20)).waitFor();
  const age = page.locator('.answer .age strong');
  const first = await age.innerText();
  await until('the age grows', () => age.innerText(), (s) => s !== first);
  expect(await page.locator('main').innerText()).not.toContain('2026-12-02');
  await look(page, 'waiting', { guide: 'light' });
});

test('without JavaScript it says the same', async () => {
  const context = await page.context().browser()!.newContext({ viewport: desktop, javaScriptEnabled: false });
  const plain = await context.newPage();
  await plain.goto(stage.url + '/');
  await plain.getByText('3 transactions are not at the hub yet').waitFor();
  expect(await plain.locator('noscript meta[http-equiv=refresh]').count()).toBe(1);
  await context.close();
});

test('another site was first: what was refused is shown, with what waits for it', async () => {
  await sql('oslo', `INSERT INTO visit VALUES ('o1', 'p2', 'r1', '2026-12-02 10:00', 20)`);
  await until('Oslo was first', () => sql('hub', `SELECT count(*) FROM visit WHERE id='o1'`), (n) => n === '1');
  await mend();
  await answer('All work is at the hub, 2 transactions were refused').waitFor({ timeout: 120_000 });
  await page.getByText(/another row of visit already has this value/).waitFor();
  const more = page.getByText('1 more waits for it');
  await more.focus();
  await page.keyboard.press('Enter');
  await page.getByText(/it depends on transaction/).waitFor();
  const before = await page.locator('#as-of').innerText();
  await until('the page was renewed', () => page.locator('#as-of').innerText(), (s) => s !== before);
  expect(await page.locator('details[open]').count()).toBe(1); // and stays as somebody left it
  expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('SUMMARY');
  const show = await page.locator('.works .code').innerText();
  expect(show).toMatch(/^tidemark queue show [0-9a-f]{8} \/\S*\/berlin\.db$/);
  const seen = await run('queue', 'show', show.split(' ')[3]!, 'FILE:berlin');
  expect(seen.out).toContain('2026-12-02 10:00');
  expect(await page.locator('main').innerText()).not.toContain('2026-12-02 10:00');
  await more.evaluate((e) => (e as HTMLElement).blur());
  await look(page, 'refused', { guide: 'light' });
});

test('the agent is gone: the page says so, until it is back', async () => {
  await killAgent('berlin');
  const away = page.getByRole('alert').filter({ hasText: 'The agent does not answer' });
  await away.waitFor();
  await look(page, 'away', { once: true });
  await serving('berlin');
  await away.waitFor({ state: 'hidden' });
});

test('the device is revoked: what is written from then on cannot be handed in', async () => {
  await page.locator('.tag').getByText('online').waitFor();
  await run('device', 'revoke', 'berlin', '--data', 'DATA', '--reason', 'the till was stolen');
  await page.getByText('This device was revoked at the hub.').waitFor();
  await sql('berlin', `UPDATE patient SET note='after' WHERE id='p1'`);
  await answer('1 transaction is not at the hub yet').waitFor();
  await page.getByText(/the till was stolen/).waitFor();
  await page.locator('.answer.alarm').waitFor();
  await look(page, 'revoked', { guide: 'phone' });
});

test('a page of another site gets nothing of it', async () => {
  const other = await page.context().newPage();
  await other.goto(stage.office); // an origin of its own, on this machine
  const read = await other.evaluate((u) => fetch(u).then((r) => r.text(), () => 'kept out'), stage.url + '/status.json');
  expect(read).toBe('kept out');
  await other.setContent(`<iframe src="${stage.url}/"></iframe>`);
  await other.waitForTimeout(500);
  expect(await other.frames()[1]?.locator('main').count() ?? 0).toBe(0);
  await other.close();
});

test('on none of all these pages did anything go wrong', () => {
  console.log(`${looks} looks; slight findings of axe:\n${[...slight].join('\n') || 'none'}`);
  expect([...new Set(faults)]).toEqual([]);
});
