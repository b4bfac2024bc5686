/// What is to be seen in a scene of shapes: what its caption says.
public struct SceneDescription: Hashable, Sendable {
    /// Objects that are alike.
    public struct Group: Hashable, Sendable {
        public var shape: SceneShape
        public var count: Int
        /// Nil where it does not matter.
        public var colour: SceneColour?
        /// How it lies to another group, given by its number.
        public var position: Position?

        public init(_ shape: SceneShape, count: Int = 1, colour: SceneColour? = nil, position: Position? = nil) {
            self.shape = shape
            self.count = count
            self.colour = colour
            self.position = position
        }
    }

    public struct Position: Hashable, Sendable {
        public var relation: SceneRelation
        public var group: Int

        public init(_ relation: SceneRelation, of group: Int) {
            self.relation = relation
            self.group = group
        }
    }

    public var groups: [Group]

    /// - Parameter groups: A group lies to an earlier one, as in GenEval.
    public init(_ groups: [Group]) {
        precondition(
            groups.indices.allSatisfy { number in (groups[number].position?.group ?? -1) < number })
        self.groups = groups
    }

    /// From a caption such as `two red circles`, `a circle and a square`, or `a red circle left of a blue square`; nil when it
    /// is none of a scene.
    public init?(_ caption: String) {
        for relation in SceneRelation.allCases {
            let parts = caption.split(separator: " " + relation.rawValue + " ", omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            guard var group = Self.group(parts[0]), let other = Self.group(parts[1]) else { return nil }
            group.position = Position(relation, of: 0)
            self.init([other, group])
            return
        }
        let parts = caption.split(separator: " and ", omittingEmptySubsequences: false).map(Self.group)
        guard parts.allSatisfy({ $0 != nil }) else { return nil }
        self.init(parts.compactMap(\.self))
    }

    /// In words. Of more than two groups, all but the first may lie to the first only.
    public var caption: String {
        guard groups.count == 2, let position = groups[1].position else {
            return groups.map(Self.phrase).joined(separator: " and ")
        }
        return Self.phrase(groups[1]) + " " + position.relation.rawValue + " " + Self.phrase(groups[0])
    }

    /// GenEval's name for what a scene asks of a model.
    public var tag: String {
        if groups.contains(where: { $0.position != nil }) { return "position" }
        if groups.contains(where: { $0.count > 1 }) { return "counting" }
        let isColoured = groups.contains { $0.colour != nil }
        return groups.count > 1 ? isColoured ? "color_attr" : "two_object" : isColoured ? "colors" : "single_object"
    }

    private static let numbers = ["two", "three", "four"]
    /// The largest number that captions have a word for.
    static let most = numbers.count + 1

    private static func phrase(_ group: Group) -> String {
        let words = (group.colour.map { [$0.rawValue] } ?? []) + [group.shape.rawValue]
        guard group.count == 1 else {
            return numbers[group.count - 2] + " " + words.joined(separator: " ") + "s"
        }
        let hasVowel = words[0].first.map { "aeiou".contains($0) } ?? false
        return (hasVowel ? "an " : "a ") + words.joined(separator: " ")
    }

    private static func group(_ phrase: Substring) -> Group? {
        var words = phrase.split(separator: " ")
        guard (2...3).contains(words.count) else { return nil }
        let number = words.removeFirst()
        let count = ["a", "an"].contains(number) ? 1 : numbers.firstIndex { $0 == number }.map { $0 + 2 }
        guard let count, var name = words.popLast() else { return nil }
        if count > 1 {
            guard name.last == "s" else { return nil }
            name.removeLast()
        }
        guard let shape = SceneShape(rawValue: String(name)) else { return nil }
        guard let word = words.last else { return Group(shape, count: count) }
        return SceneColour(rawValue: String(word)).map { Group(shape, count: count, colour: $0) }
    }
}
