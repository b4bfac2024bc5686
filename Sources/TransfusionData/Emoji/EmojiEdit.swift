/// An edit that two emoji show: a shape in another colour, or a person in another skin tone.
struct EmojiEdit {
    /// Both by their place in the list.
    let original: Int
    let target: Int
    let instruction: String

    /// The shapes of one kind and size, each from each other colour.
    static func recolourings(of shapes: [Int], _ list: EmojiList) -> [EmojiEdit] {
        let named = shapes.compactMap { index in ShapeName(list.emoji[index].name).map { (index, $0) } }
        return named.flatMap { original, from in
            named.compactMap { target, to in
                guard (from.shape, from.size) == (to.shape, to.size), from.colour != to.colour else { return nil }
                return EmojiEdit(original: original, target: target, instruction: to.instruction)
            }
        }
    }

    /// The emoji of one person with one skin tone, each from its base.
    static func skinTones(of bases: [Int], _ list: EmojiList) -> [EmojiEdit] {
        let bases = Set(bases)
        return list.emoji.indices.compactMap { target in
            let name = list.emoji[target].name
            guard list.emoji[target].hasSkinTone, let base = list.base(of: list.emoji[target]), bases.contains(base),
                name.hasPrefix(list.emoji[base].name + ": ")
            else { return nil }
            let tone = name.dropFirst(list.emoji[base].name.count + 2)
            // Two tones of two people have a comma between them.
            guard tone.hasSuffix(" skin tone"), !tone.contains(",") else { return nil }
            return EmojiEdit(original: base, target: target, instruction: "give it a " + tone)
        }
    }
}
