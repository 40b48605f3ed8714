// What an imported style sheet is under Jest: nothing.
module.exports = {};
