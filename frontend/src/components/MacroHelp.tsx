// The macros of SQL, folded away until someone looks for them.
import { ControlledCollapse } from '@grafana/ui';
import { MACROS } from '../macros';

export function MacroHelp() {
  return (
    <ControlledCollapse label="Macros" isOpen={false}>
      <table data-testid="statline-macros">
        <tbody>
          {MACROS.map(({ name, example, meaning }) => (
            <tr key={name}>
              <td style={{ paddingRight: 16, whiteSpace: 'nowrap' }}>
                <code>
                  {name}
                  {example}
                </code>
              </td>
              <td>{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ControlledCollapse>
  );
}
