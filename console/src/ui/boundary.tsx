import { Component, type ReactNode } from 'react';

/** Boundary keeps a page that broke from taking the others with it; another address tries anew. */
export class Boundary extends Component<{ at: string; children: ReactNode }, { error?: Error; at?: string }> {
  override state: { error?: Error; at?: string } = {};
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override componentDidUpdate(was: { at: string }) {
    if (this.state.error && was.at !== this.props.at) this.setState({ error: undefined });
  }
  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <div className="empty" role="alert">
        <strong>This page broke.</strong>
        <p>{this.state.error.message}</p>
        <p>
          Your drafts are kept in this tab. <button type="button" onClick={() => window.location.reload()}>Load it again</button>
        </p>
      </div>
    );
  }
}
