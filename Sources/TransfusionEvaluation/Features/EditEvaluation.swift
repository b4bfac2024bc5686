import Foundation
import TransfusionCheckpoint
import TransfusionConfig
public import TransfusionCore
import TransfusionData
import TransfusionSupport

/// How well pictures were changed: all of `tf-eval edit`.
public struct EditEvaluation: Sendable {
    /// A folder with `prompts.jsonl`, whose lines name `file`, `prompt`, `source` and `target`, as `tf-sample edit` writes it.
    public var pictures: String
    /// A data set of shapes whose pictures say how colours look; nil takes the targets.
    public var data: String?
    /// The weights of Inception v3, for the distance of features; nil measures none.
    public var weights: String?
    public var variant = InceptionFeatures.Variant.pytorch
    /// Nil takes this rank's share of the processors.
    public var threads: Int?

    public init(pictures: String) {
        self.pictures = pictures
    }

    public struct Report: Encodable, Sendable, Equatable {
        public let edits: Int
        /// The mean absolute difference to the target, of values of 0 … 1, over all pixels and channels.
        public let l1: Double
        /// The same for the sources, which is what doing nothing comes to.
        public let l1OfSource: Double
        /// The same as `l1`, over the pixels that the edit leaves as they are; nil when there are none.
        public let l1Outside: Double?
        /// Edits whose instruction asks for a colour, and how many of them got it; nil when none asks.
        public let colours: Int?
        public let rightColours: Int?
        /// The mean of 1 − the cosine of the features of picture and target.
        public let featureDistance: Double?
        /// What found the features.
        public let network: String?

        enum CodingKeys: String, CodingKey {
            case edits, l1, colours, network
            case l1OfSource = "l1_of_source"
            case l1Outside = "l1_outside"
            case rightColours = "right_colours"
            case featureDistance = "feature_distance"
        }
    }

    /// A pixel is left as it is when no channel of source and target differs by more, of 255.
    private static let tolerance = 8

    /// All ranks of the group call it, and share the pictures.
    /// - Throws: `SharedFailure` with one line that names the file.
    public func run(_ group: any Collectives = SingleRank(), ranksOnHost: Int = 1) throws -> Report {
        var edits: [Edit] = [], references: DominantColour?
        var network: InceptionFeatures?
        try group.agree("reading the pictures") {
            edits = try readEdits()
            references = try colours(of: edits)
            network = try weights.map {
                try InceptionFeatures(weights: $0, variant, threads: threads, ranksOnHost: ranksOnHost)
            }
        }
        let differences = edits.map(Self.differences)
        let outside = differences.compactMap(\.outside)
        let asked = edits.filter { $0.colour != nil }
        let right = references.map { names in asked.count { names.name(of: $0.picture) == $0.colour } }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }
        return Report(
            edits: edits.count, l1: mean(differences.map(\.target)), l1OfSource: mean(differences.map(\.source)),
            l1Outside: outside.isEmpty ? nil : mean(outside), colours: right == nil ? nil : asked.count,
            rightColours: right, featureDistance: try network.map { try featureDistance(edits, $0, group) },
            network: network?.name)
    }

    private struct Edit {
        let picture: Picture
        let source: Picture
        let target: Picture
        /// The colour that the instruction asks for.
        let colour: String?
    }

    private func readEdits() throws -> [Edit] {
        let list = Paths.join(pictures, "prompts.jsonl")
        let example =
            #"{"file": "000000.png", "prompt": "make it blue", "source": "sources/000000.png", "target": "targets/000000.png"}"#
        guard Files.exists(list) else {
            throw CommandFailure("\(pictures): has no prompts.jsonl, whose lines are like \(example)", .wrongUse)
        }
        return try JSONRows.read(list, limit: 1 << 30, example: example).map { row, place in
            let names = try ["file", "prompt", "source", "target"].map { key in
                guard let text = row[key]?.string else {
                    throw CommandFailure(
                        "\(place): \"\(key)\" is missing; edits are measured by their targets, and a line is like \(example)"
                    )
                }
                return text
            }
            func picture(_ name: String) throws -> Picture {
                guard !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
                    throw CommandFailure("\(place): \(name) leaves the folder")
                }
                return try PictureFile.read(Paths.join(pictures, name))
            }
            let edit = Edit(
                picture: try picture(names[0]), source: try picture(names[2]), target: try picture(names[3]),
                colour: ShapeName.colour(askedBy: names[1]))
            let sizes = [edit.picture, edit.source, edit.target].map { [$0.width, $0.height] }
            guard Set(sizes).count == 1 else {
                throw CommandFailure("\(place): picture, source and target are of different sizes")
            }
            return edit
        }
    }

    /// How the colours that are asked for look; nil when none is.
    private func colours(of edits: [Edit]) throws -> DominantColour? {
        guard edits.contains(where: { $0.colour != nil }) else { return nil }
        guard let data else {
            return DominantColour(pictures: edits.compactMap { edit in edit.colour.map { ($0, edit.target) } })
        }
        guard let names = try DominantColour(dataset: try PackedDataset(data)) else {
            throw CommandFailure(
                "--data: \(data) has no captions that name colours and shapes; leave it out", .wrongUse)
        }
        return names
    }

    private static func differences(_ edit: Edit) -> (target: Double, source: Double, outside: Double?) {
        var (toTarget, ofSource, outside, pixels) = (0, 0, 0, 0)
        for y in 0..<edit.picture.height {
            for x in 0..<edit.picture.width {
                let (picture, source, target) = (edit.picture[x, y], edit.source[x, y], edit.target[x, y])
                func distance(_ a: SIMD3<UInt8>, _ b: SIMD3<UInt8>) -> SIMD3<Int> {
                    let difference = SIMD3<Int>(truncatingIfNeeded: a) &- SIMD3<Int>(truncatingIfNeeded: b)
                    return difference.replacing(with: 0 &- difference, where: difference .< 0)
                }
                let own = distance(picture, target), changed = distance(source, target)
                toTarget += own.wrappedSum()
                ofSource += changed.wrappedSum()
                if changed.max() <= tolerance {
                    outside += own.wrappedSum()
                    pixels += 1
                }
            }
        }
        let all = Double(edit.picture.width * edit.picture.height * 3 * 255)
        return (
            Double(toTarget) / all, Double(ofSource) / all,
            pixels == 0 ? nil : Double(outside) / Double(pixels * 3 * 255)
        )
    }

    private func featureDistance(
        _ edits: [Edit], _ network: InceptionFeatures, _ group: any Collectives
    ) throws -> Double {
        let distances = try group.shared(
            edits.indices.groupsOfPictures, title: "feature distance", work: "finding features",
            site: "feature distances"
        ) { range in
            let made = try network.features(of: edits[range].map(\.picture))
            let wanted = try network.features(of: edits[range].map(\.target))
            return made.indices.parts(of: made.count / range.count).map { Self.distance(made[$0], wanted[$0]) }
        }
        return distances.reduce(0, +) / Double(distances.count)
    }

    /// 1 − the cosine of two vectors.
    private static func distance(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
        func product(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
            zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let lengths = (product(a, a) * product(b, b)).squareRoot()
        return lengths > 0 ? 1 - product(a, b) / lengths : 0
    }
}
