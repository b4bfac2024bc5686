/// What can be right or wrong about a picture of a scene.
public struct SceneAspects: OptionSet, Hashable, Sendable {
    public let rawValue: Int

    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Each shape is there.
    public static let presence = SceneAspects(rawValue: 1)
    /// Each shape is there as often as was asked, and nothing else is.
    public static let count = SceneAspects(rawValue: 2)
    /// Each shape has the colours that were asked.
    public static let colour = SceneAspects(rawValue: 4)
    /// Shapes lie to each other as was asked.
    public static let position = SceneAspects(rawValue: 8)
}

extension SceneDescription {
    /// What it says anything about.
    public var aspects: SceneAspects {
        var aspects: SceneAspects = [.presence, .count]
        if groups.contains(where: { $0.colour != nil }) { aspects.insert(.colour) }
        if groups.contains(where: { $0.position != nil }) { aspects.insert(.position) }
        return aspects
    }

    /// Which of its aspects are right in a picture. Each is judged by itself: of a circle in the wrong colour the number and the
    /// place may be right.
    public func rightAspects(of found: [SceneObject]) -> SceneAspects {
        var right = aspects
        let shapes = Set(groups.map(\.shape))
        for shape in shapes {
            let own = found.filter { $0.shape == shape }, asked = groups.filter { $0.shape == shape }
            if own.isEmpty { right.remove(.presence) }
            if own.count != asked.reduce(0, { $0 + $1.count }) { right.remove(.count) }
            let wanted = asked.flatMap { group in
                group.colour.map { Array(repeating: $0.rawValue, count: group.count) } ?? []
            }.sorted()
            let colours = own.map(\.colour.rawValue).sorted()
            // Where the number is wrong, it is not the colour's fault.
            let isRight = colours.count == wanted.count ? colours == wanted : Set(colours) == Set(wanted)
            if asked.allSatisfy({ $0.colour != nil }), !isRight { right.remove(.colour) }
        }
        if found.contains(where: { object in object.shape.map { !shapes.contains($0) } ?? true }) {
            right.remove(.count)
        }
        for group in groups {
            guard let position = group.position else { continue }
            let others = objects(of: groups[position.group], in: found)
            let holds = objects(of: group, in: found).contains { object in
                others.contains { $0 != object && object.box.relations(to: $0.box).contains(position.relation) }
            }
            if !holds { right.remove(.position) }
        }
        return right
    }

    /// Those of the group's shape and colour; where none has the colour, those of the shape.
    private func objects(of group: Group, in found: [SceneObject]) -> [SceneObject] {
        let own = found.filter { $0.shape == group.shape }
        let coloured = own.filter { $0.colour == group.colour }
        return coloured.isEmpty ? own : coloured
    }
}
