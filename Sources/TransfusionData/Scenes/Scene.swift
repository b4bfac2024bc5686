internal import TransfusionCore

/// Shapes on a white square.
public struct Scene: Equatable, Sendable {
    /// Pixels on a side.
    public let size: Int
    public let objects: [SceneObject]

    public init(size: Int, objects: [SceneObject]) {
        self.size = size
        self.objects = objects
    }

    /// The smallest whose shapes all differ.
    public static let smallestSize = 32

    /// A scene as a description wants it. Places, sizes, and colours that it leaves open are chosen at random.
    /// - Parameters:
    ///   - description: Of at most four objects.
    ///   - size: At least `smallestSize`.
    ///   - index: Another one gives another scene.
    public init(_ description: SceneDescription, size: Int, seed: UInt64, index: Int) {
        var choices = SceneChoices(seed: seed, index: index)
        self.init(description, size: size, &choices)
    }

    init(_ description: SceneDescription, size: Int, _ choices: inout SceneChoices) {
        let total = description.groups.reduce(0) { $0 + $1.count }
        precondition(size >= Self.smallestSize && total <= Self.mostObjects)
        // Each object lies in a quarter of its own, with space around it.
        var cells = choices.shuffled([(0, 0), (1, 0), (0, 1), (1, 1)])
        if description.groups.count == 2, let relation = description.groups[1].position?.relation {
            let side = choices.next(below: 2)
            let first = [(0, side), (1, side), (side, 0), (side, 1)],
                second = [(1, side), (0, side), (side, 1), (side, 0)]
            let number: Int =
                switch relation {
                case .leftOf: 0
                case .rightOf: 1
                case .above: 2
                case .below: 3
                }
            // In the same row or column, so that the relation holds and no other one does.
            cells = [second[number], first[number]]
        }
        let cell = size / 2, margin = max(1, cell / 16)
        var objects: [SceneObject] = []
        for group in description.groups {
            for _ in 0..<group.count {
                let (column, row) = cells.removeFirst()
                let side = cell / 2 + choices.next(below: cell / 4 + 1), room = cell - 2 * margin - side + 1
                let box = SceneObject.Box(
                    x: column * cell + margin + choices.next(below: room),
                    y: row * cell + margin + choices.next(below: room), width: side, height: side)
                let colour = group.colour ?? choices.element(of: SceneColour.allCases)
                objects.append(SceneObject(shape: group.shape, colour: colour, box: box))
            }
        }
        self.init(size: size, objects: objects)
    }

    static let mostObjects = 4

    public var picture: Picture {
        var picture = Picture(width: size, height: size)
        for object in objects {
            let box = object.box
            guard let mask = object.shape?.mask(width: box.width, height: box.height) else { continue }
            for (place, isCovered) in mask.enumerated() where isCovered {
                picture[box.x + place % box.width, box.y + place / box.width] = object.colour.rgb
            }
        }
        return picture
    }
}

/// Random choices, one after the other, from an address.
struct SceneChoices {
    private let random: Philox
    private var position = 0

    init(seed: UInt64, index: Int) {
        random = Philox(seed: seed, purpose: .scenes, index: index)
    }

    mutating func next(below bound: Int) -> Int {
        position += 1
        return random.integer(below: bound, at: position)
    }

    mutating func element<Element>(of elements: [Element]) -> Element { elements[next(below: elements.count)] }

    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var elements = elements
        for last in elements.indices.dropFirst().reversed() { elements.swapAt(last, next(below: last + 1)) }
        return elements
    }
}
