import { expect, test } from 'vitest';
import { open } from '../browser';
import { cast } from '../cast';
import { look } from '../look';
import { agent, run, sql, until } from '../stage';

export function leave() {
  test('a device is revoked: its key works no more, and the page says so', async () => {
    const page = cast.ana;
    await open(page, '#/fleet');
    await page.locator('.devices').getByRole('link', { name: 'Berlin', exact: true }).click();
    await page.getByRole('button', { name: 'More', exact: true }).click();
    await look(page, 'device-more', { once: true });
    await page.getByRole('menuitem', { name: 'Revoke' }).click();
    await page.getByRole('dialog').getByLabel('Reason').fill('the tablet was stolen');
    await look(page, 'device-revoke');
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('revoked', { exact: true }).first().waitFor();
    await look(page, 'device-revoked');
    await sql('berlin', `UPDATE patient SET note='written by a thief' WHERE id='p3'`);
    await agent('berlin');
    await until('the device is told', async () => (await run('status', 'FILE:berlin')).out, (s) => /revoked/.test(s));
    expect(await sql('hub', `SELECT count(*) FROM patient WHERE note='written by a thief'`)).toBe('0');
  });

  test('all of it is in the audit', async () => {
    const page = cast.ana;
    await open(page, '#/people?tab=audit');
    const table = page.getByRole('region', { name: 'Audit' });
    for (const action of ['Fleet/Revoke', 'Quarantine/Discard', 'Quarantine/Edit', 'Fleet/Rename']) await table.getByText(action).first().waitFor();
    await look(page, 'audit', { guide: 'light' });
    await page.getByRole('button', { name: 'Is it whole?' }).click();
    await page.getByText(/All \d+ entries are as they were written/).waitFor();
    await open(page, '#/people?tab=tokens');
    await page.getByLabel('Name of the token').fill('nightly script');
    await page.getByRole('button', { name: 'Make a token' }).click();
    await page.getByText('It is shown only now.').waitFor();
    await look(page, 'tokens');
  });

  test('who has a column still, and what is leased, is there to read', async () => {
    const page = cast.ana;
    await open(page, '#/data?tab=schemas');
    const ask = page.getByRole('region', { name: 'May it be dropped?' });
    await ask.getByLabel('Table, or table.column').fill('patient.phone');
    await ask.getByRole('button', { name: 'Ask' }).click();
    await ask.getByText('not yet').waitFor();
    await look(page, 'droppable');
    await ask.getByLabel('Table, or table.column').fill('patient.colour');
    await ask.getByRole('button', { name: 'Ask' }).click();
    await ask.getByRole('alert').waitFor();
    await open(page, '#/data?tab=leases');
    await page.getByText('Nothing is leased.').waitFor();
  });

  test('the whole console is within reach of the keyboard', async () => {
    const page = cast.ana;
    await open(page, '#/fleet');
    await page.locator('.devices').getByRole('link', { name: 'Berlin', exact: true }).waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('search').waitFor();
    await look(page, 'keys');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('g');
    await page.keyboard.press('q');
    await page.getByRole('heading', { name: 'Quarantine' }).waitFor();
    await page.keyboard.press('g');
    await page.keyboard.press('f');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Timeline' }).waitFor();
  });
}
