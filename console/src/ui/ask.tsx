import { useState, type FormEvent, type ReactNode } from 'react';
import { Button, Modal, Textarea } from '@mantine/core';
import { faultOf, type Fault } from '../hub/fault';
import { useDraft } from '../edit/draft';
import { FaultNote } from './parts';

export interface Question {
  title: string;
  text: ReactNode; // what will happen
  verb: string; // of the button
  danger?: boolean;
  reason?: 'required' | 'optional';
  draft?: string; // names the reason's draft
  extra?: ReactNode; // more fields
  run: (reason: string) => Promise<unknown>;
}

/** Ask says what will happen, asks for the reason, does it, and stays when it fails. */
export function Ask({ question, onClose }: { question: Question | undefined; onClose: () => void }) {
  return (
    <Modal opened={!!question} onClose={onClose} title={question?.title} closeButtonProps={{ 'aria-label': 'Close' }} size="md">
      {question && <Body q={question} onClose={onClose} />}
    </Modal>
  );
}

function Body({ q, onClose }: { q: Question; onClose: () => void }) {
  const [reason, setReason, drop] = useDraft('reason.' + (q.draft ?? q.title), '');
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const missing = q.reason === 'required' && reason.trim() === '';
  const submit = async (e: FormEvent) => {
    e.preventDefault();
    if (missing || busy) return;
    setBusy(true);
    setFault(undefined);
    try {
      await q.run(reason.trim());
      drop();
      onClose();
    } catch (err) {
      setFault(faultOf(err));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="stack" onSubmit={submit}>
      <div>{q.text}</div>
      {q.extra}
      {q.reason && (
        <Textarea
          label={q.reason === 'required' ? 'Reason' : 'Reason (optional)'}
          description="Kept in the audit."
          value={reason}
          onChange={(e) => setReason(e.currentTarget.value)}
          data-autofocus
          autosize={false}
          rows={2}
        />
      )}
      <FaultNote fault={fault} />
      <div className="row">
        <span className="grow" />
        <Button variant="default" onClick={onClose} type="button">
          Cancel
        </Button>
        <Button type="submit" color={q.danger ? 'red' : undefined} loading={busy} disabled={missing} data-autofocus={q.reason ? undefined : true}>
          {q.verb}
        </Button>
      </div>
    </form>
  );
}
