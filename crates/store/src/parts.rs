//! The parts between the dots of names, each kept once however many names have it.

use crate::arena::Place;
use crate::texts::Texts;

/// The number of a part. It is given anew once no name has the part.
pub(crate) type PartId = u32;

#[derive(Debug)]
struct Part {
    place: Place,
    uses: u32,
}

/// The parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    texts: Texts,
    parts: Vec<Part>,
    free: Vec<PartId>,
}

impl Parts {
    pub(crate) fn find(&self, text: &str) -> Option<PartId> {
        self.texts.find(text)
    }

    pub(crate) fn text(&self, part: PartId) -> &str {
        self.texts.text(self.parts[part as usize].place)
    }

    /// As bytes, which compare in the same order and are found without a look at what they spell.
    pub(crate) fn bytes(&self, part: PartId) -> &[u8] {
        self.texts.bytes(self.parts[part as usize].place)
    }

    /// Counts one more use of a part.
    pub(crate) fn take(&mut self, text: &str) -> PartId {
        if let Some(part) = self.texts.find(text) {
            self.parts[part as usize].uses += 1;
            return part;
        }
        // There are fewer parts than 2^31: memory ends before.
        let id = self.free.pop().unwrap_or(self.parts.len() as PartId);
        let part = Part { place: self.texts.insert(id, text), uses: 1 };
        match self.parts.get_mut(id as usize) {
            Some(free) => *free = part,
            None => self.parts.push(part),
        }
        id
    }

    /// Counts one less.
    pub(crate) fn release(&mut self, part: PartId) {
        let Part { place, uses } = &mut self.parts[part as usize];
        *uses -= 1;
        if *uses == 0 {
            let place = *place;
            self.texts.remove(place, |moved, place| self.parts[moved as usize].place = place);
            self.free.push(part);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stays_while_it_is_used() {
        let mut parts = Parts::default();
        let (first, again, second) = (parts.take("a"), parts.take("a"), parts.take("b"));
        assert_eq!((first, parts.text(second)), (again, "b"));
        parts.release(first);
        assert_eq!(parts.find("a"), Some(first));
        parts.release(first);
        assert_eq!((parts.find("a"), parts.len()), (None, 1));
        assert_eq!(parts.take("c"), first, "a number that is free is given again");
    }
}
