import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { open } from '../browser';
import { cast, poison } from '../cast';
import { look } from '../look';
import { agent, cut, killHub, mend, openHub, run, sql, until } from '../stage';

const quote = (s: string) => `'${s.replaceAll("'", "''")}'`;
const visits = (at: string) => sql(at, `SELECT group_concat(id || ' ' || at || ' ' || minutes, '; ') FROM (SELECT * FROM visit ORDER BY id)`);

/** field is where the value of a column is typed. */
const field = (page: Page, column: string) => page.getByLabel(column, { exact: true }).first();

export function quarantine() {
  test('two sites book one room: the later one is parked, with what waits for it', async () => {
    await until('Berlin knows of the rooms', () => sql('berlin', `SELECT count(*) FROM room WHERE id='rx'`), (n) => n === '1');
    await cut();
    await sql('oslo', `INSERT INTO visit VALUES ('o1', 'p2', 'r1', '2026-12-02 10:00', 20); INSERT INTO visit VALUES ('o2', 'p2', 'rx', '2026-12-02 11:00', 20);`);
    await sql('berlin', `INSERT INTO visit VALUES ('b1', 'p3', 'r1', '2026-12-02 10:00', 45)`);
    await agent('berlin');
    await sql('berlin', `UPDATE visit SET minutes=50 WHERE id='b1'`);
    await sql('berlin', `INSERT INTO visit VALUES ('b2', 'p4', 'rx', '2026-12-02 11:00', 15)`);
    await until('Oslo was first', () => sql('hub', `SELECT count(*) FROM visit WHERE id IN ('o1','o2')`), (n) => n === '2');
    await mend();
    await agent('berlin');
    const page = cast.bo;
    await open(page, '#/quarantine');
    await page.getByRole('link', { name: /visit.*b1/s }).filter({ hasText: 'unique' }).click();
    await page.getByText('to be written').first().waitFor();
    await look(page, 'quarantine', { guide: 'light' });
    await until('the device sees the same', () => run('queue', 'list', 'FILE:berlin'), (device) => /unique/i.test(device.out));
  });

  test('a value that cannot be is refused where it is typed', async () => {
    const page = cast.bo;
    await field(page, 'visit.minutes').fill('half an hour');
    await page.getByText('type a whole number, such as 3').waitFor();
    expect(await page.getByRole('button', { name: 'Save and retry' }).isDisabled()).toBe(true);
    await look(page, 'quarantine-invalid');
    await field(page, 'visit.minutes').fill('40');
  });

  test('the hub is killed while a form is open: the page says so, and what was typed is kept', async () => {
    const page = cast.bo;
    await field(page, 'visit.at').fill('2026-12-02 10:45');
    await killHub();
    const away = page.locator('.bar').filter({ hasText: 'The hub does not answer.' });
    await away.waitFor();
    await page.getByRole('button', { name: 'Save and retry' }).click();
    await look(page, 'hub-away', { guide: 'phone' });
    expect(await field(page, 'visit.at').inputValue()).toBe('2026-12-02 10:45');
    await openHub();
    await away.waitFor({ state: 'detached', timeout: 60_000 });
    await page.reload();
    await field(page, 'visit.at').waitFor();
    expect(await field(page, 'visit.at').inputValue()).toBe('2026-12-02 10:45');
    expect(await field(page, 'visit.minutes').inputValue()).toBe('40');
  });

  test('edited and tried again, it is applied, and the device has it', async () => {
    const page = cast.bo;
    await page.getByRole('button', { name: 'Save and retry' }).click();
    await page.getByRole('button', { name: 'Save and retry' }).waitFor({ state: 'detached' });
    await look(page, 'quarantine-settled', { once: true });
    await agent('berlin');
    await until('Berlin has the edited visit', () => visits('berlin'), (v) => /b1 2026-12-02 10:45 (40|50)/.test(v) && v.includes('o1 2026-12-02 10:00 20'));
    expect(await visits('hub')).toMatch(/b1 2026-12-02 10:45/);
  });

  test('a transaction full of somebody’s script is read, and discarded with a reason', async () => {
    const page = cast.bo;
    await open(page, '#/quarantine');
    await page.getByRole('link', { name: /visit.*b2/s }).first().click();
    await page.getByText('to be written').first().waitFor();
    await sql('hub', `UPDATE visit SET at=${quote(poison)} WHERE id='o2'`);
    await sql('oslo', `UPDATE room SET name='Garden' WHERE id='rx'`);
    await look(page, 'quarantine-script', { once: true });
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export' }).click()]);
    expect(file.suggestedFilename()).toMatch(/^transaction-.+\.json$/);
    expect(JSON.parse(readFileSync(await file.path(), 'utf8'))).toBeTruthy();
    await page.keyboard.press('d');
    const dialog = page.getByRole('dialog');
    expect(await dialog.getByRole('button', { name: 'Discard' }).isDisabled()).toBe(true);
    await dialog.getByLabel('Reason').fill(`Jonas came on another day ${poison}`);
    await look(page, 'quarantine-discard');
    await dialog.getByRole('button', { name: 'Discard' }).click();
    await page.getByText('The quarantine is empty.').waitFor();
    await look(page, 'quarantine-empty', { once: true });
    await until('Berlin took it back', () => sql('berlin', `SELECT count(*) FROM visit WHERE id='b2'`), (n) => n === '0');
  });

  test('a device is asked to verify, and tells that it is equal', async () => {
    const page = cast.bo;
    await open(page, '#/fleet');
    await page.locator('.devices').getByRole('link', { name: 'Berlin', exact: true }).click();
    await page.getByRole('heading', { name: 'Berlin', exact: true }).waitFor();
    await page.keyboard.press('v');
    await page.getByRole('dialog').getByRole('button', { name: 'Ask to verify' }).click();
    await page.getByText(/equal, \d+ rows/).waitFor({ timeout: 90_000 });
    await look(page, 'device-verified', { once: true });
  });
}
