// Sizes that the editors share, in Grafana's grid units.

/** The width of the labels in front of a query's controls. */
export const LABEL_WIDTH = 14;

/** The width of a setting's input. */
export const SETTING_WIDTH = 60;
