import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData

/// A prompt, and what is to be seen in its picture.
///
/// ### References
/// The form is that of GenEval's `evaluation_metadata.jsonl`: `{tag, include: [{class, count, color?, position?: [relation, group]}],
/// prompt}`.
struct CompositionPrompt {
    let text: String
    /// Nil when it is none of shapes, and only GenEval's networks can find what it names.
    let scene: SceneDescription?
    /// The line of GenEval's file.
    let metadata: JSONValue

    static let example =
        #"{"tag": "colors", "include": [{"class": "circle", "count": 1, "color": "red"}], "prompt": "a red circle"}"#

    /// From a line of GenEval's file.
    init(_ members: [String: JSONValue], _ place: String) throws {
        guard let text = members["prompt"]?.string, case .array(let include)? = members["include"], !include.isEmpty
        else {
            throw CommandFailure("\(place): \"prompt\" and \"include\" are missing; a line is like \(Self.example)")
        }
        self.text = text
        metadata = .object(members)
        scene = Self.scene(include)
    }

    /// From a caption of a scene, or any other one.
    init(_ caption: String) {
        text = caption
        scene = SceneDescription(caption)
        let include = scene?.groups.map { group -> JSONValue in
            var values: [String: JSONValue] = [
                "class": .string(group.shape.rawValue), "count": .number(Double(group.count)),
            ]
            if let colour = group.colour { values["color"] = .string(colour.rawValue) }
            if let position = group.position {
                values["position"] = .array([.string(position.relation.rawValue), .number(Double(position.group))])
            }
            return .object(values)
        }
        metadata = .object([
            "tag": .string(scene?.tag ?? "none"), "include": .array(include ?? []), "prompt": .string(caption),
        ])
    }

    private static func scene(_ include: [JSONValue]) -> SceneDescription? {
        var groups: [SceneDescription.Group] = []
        for value in include {
            guard let shape = value["class"]?.string.flatMap(SceneShape.init), let count = value["count"]?.integer,
                count > 0
            else { return nil }
            var group = SceneDescription.Group(shape, count: count)
            if let name = value["color"]?.string {
                guard let colour = SceneColour(rawValue: name) else { return nil }
                group.colour = colour
            }
            if case .array(let position)? = value["position"] {
                guard position.count == 2, let relation = position[0].string.flatMap(SceneRelation.init),
                    let other = position[1].integer, groups.indices.contains(other)
                else { return nil }
                group.position = .init(relation, of: other)
            }
            groups.append(group)
        }
        return SceneDescription(groups)
    }
}
