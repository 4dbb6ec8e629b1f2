import '../enrol/enrol.css';
import { CloseButton } from '@mantine/core';
import { Copy } from '../../ui/copy';

/** Secret shows what is shown once, until it is closed. */
export function Secret({ text, what, note, onClose }: { text: string; what: string; note: string; onClose: () => void }) {
  return (
    <div className="note notice stack" role="status">
      <div className="row">
        <span className="grow">{note}</span>
        <CloseButton aria-label={`Hide the ${what}`} onClick={onClose} />
      </div>
      <div className="copyable">
        <pre className="code">{text}</pre>
        <Copy text={text} what={what} />
      </div>
    </div>
  );
}
