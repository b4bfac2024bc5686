/// A shape at a place: one that is drawn, or one that was found in a picture.
public struct SceneObject: Equatable, Sendable {
    /// Pixels from the upper left corner of the picture.
    public struct Box: Equatable, Sendable {
        public var x: Int
        public var y: Int
        public var width: Int
        public var height: Int

        public init(x: Int, y: Int, width: Int, height: Int) {
            (self.x, self.y, self.width, self.height) = (x, y, width, height)
        }

        /// How this box lies to another one: none of the relations when both are about at one place, two when it lies obliquely.
        ///
        /// ### References
        /// `relative_position` of GenEval's `evaluate_images.py`, with its threshold.
        func relations(to other: Box) -> Set<SceneRelation> {
            func reduced(_ from: Int, _ extent: Int, _ to: Int, _ otherExtent: Int) -> (reduced: Double, offset: Double)
            {
                let offset = Double(2 * from + extent - 2 * to - otherExtent) / 2
                let rest = max(0, abs(offset) - 0.1 * Double(extent + otherExtent))
                return (offset < 0 ? -rest : rest, offset)
            }
            let across = reduced(x, width, other.x, other.width), down = reduced(y, height, other.y, other.height)
            let length = (across.offset * across.offset + down.offset * down.offset).squareRoot()
            guard length > 0 else { return [] }
            var relations: Set<SceneRelation> = []
            if across.reduced / length < -0.5 { relations.insert(.leftOf) }
            if across.reduced / length > 0.5 { relations.insert(.rightOf) }
            if down.reduced / length < -0.5 { relations.insert(.above) }
            if down.reduced / length > 0.5 { relations.insert(.below) }
            return relations
        }
    }

    /// Nil for something that is none of the shapes.
    public var shape: SceneShape?
    public var colour: SceneColour
    public var box: Box

    public init(shape: SceneShape?, colour: SceneColour, box: Box) {
        self.shape = shape
        self.colour = colour
        self.box = box
    }
}

/// How an object lies to another one, as GenEval calls it.
public enum SceneRelation: String, CaseIterable, Sendable {
    case leftOf = "left of"
    case rightOf = "right of"
    case above, below
}
