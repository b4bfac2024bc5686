/// An emoji name that says a colour and a shape, such as "large orange diamond".
public struct ShapeName: Equatable, Sendable {
    public static let colours = [
        "red", "orange", "yellow", "green", "blue", "light blue", "purple", "brown", "black", "white", "grey", "pink",
    ]
    static let shapes = ["circle", "square", "heart", "diamond", "triangle pointed up", "triangle pointed down"]
    private static let sizes = ["large", "medium", "medium-small", "small"]

    public let colour: String
    /// As in "black small square"; nil for the usual one.
    let size: String?
    public let shape: String

    /// Nil when the name says anything else.
    public init?(_ name: String) {
        guard let shape = Self.shapes.first(where: { name.hasSuffix(" " + $0) }) else { return nil }
        var words = name.dropLast(shape.count + 1).split(separator: " ").map(String.init)
        size = words.first { Self.sizes.contains($0) }
        words.removeAll { Self.sizes.contains($0) }
        let colour = words.joined(separator: " ")
        guard Self.colours.contains(colour) else { return nil }
        self.colour = colour
        self.shape = shape
    }

    /// The colour that an instruction asks for; nil when it asks for anything else.
    public static func colour(askedBy instruction: String) -> String? {
        guard instruction.hasPrefix(request) else { return nil }
        return colours.first { $0 == instruction.dropFirst(request.count) }
    }

    /// The instruction that gives a shape this one's colour.
    var instruction: String { Self.request + colour }

    private static let request = "make it "
}
