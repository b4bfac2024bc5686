internal import Foundation
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionSupport

/// How a picture was made: what its PNG and `prompts.jsonl` say of it.
public struct PictureRecord: Codable, Sendable, Equatable {
    /// The name of the picture's file.
    public var file = ""
    public var prompt: String
    public var seed: UInt64
    /// Whether the prompt was kept out of training; nil when that is not known.
    public var heldOut: Bool?
    /// The colour that the prompt names, and that of the picture.
    public var expectedColour: String?
    public var colour: String?
    /// Of an edit: the files of the picture that was changed, and of what should come of it, where that is known.
    public var source: String?
    public var target: String?

    enum CodingKeys: String, CodingKey {
        case file, prompt, seed, colour, source, target
        case heldOut = "held_out"
        case expectedColour = "expected_colour"
    }
}

/// The text chunks of a generated PNG.
struct PictureMetadata {
    /// The model in a few words.
    let model: String
    let settings: ImageSettings

    /// - Returns: `parameters` as stable-diffusion web interfaces read it, and `transfusion`, the same as JSON.
    func chunks(_ record: PictureRecord, of picture: Picture) throws -> [(keyword: String, text: String)] {
        [("parameters", parameters(record, of: picture)), ("transfusion", try json(record))]
    }

    private func parameters(_ record: PictureRecord, of picture: Picture) -> String {
        let fields =
            [
                "Steps: \(settings.steps)", "Sampler: \(samplerName.uppercased())",
                "CFG scale: \(settings.guidanceScale)",
                "Seed: \(record.seed)", "Size: \(picture.width)x\(picture.height)", "Model: \(model)",
            ]
            + (settings.drawsTokens
                ? ["Temperature: \(settings.temperature)", "Top p: \(settings.topP)"]
                : ["Spacing: \(settings.spacing.rawValue)", "Eta: \(eta)"])
            + (record.source == nil ? [] : ["Image CFG scale: \(settings.originalGuidanceScale)"])
        return "\(record.prompt)\n\(fields.joined(separator: ", "))"
    }

    private func json(_ record: PictureRecord) throws -> String {
        struct Fields: Encodable {
            let prompt, model, sampler: String
            let seed: UInt64
            let steps: Int
            let cfg_scale: Double
            let image_cfg_scale: Double?
            // Of patches.
            var spacing: String?
            var eta: Double?
            var clip: Bool?
            // Of tokens.
            var temperature: Double?
            var top_p: Double?
        }
        var fields = Fields(
            prompt: record.prompt, model: model, sampler: samplerName, seed: record.seed, steps: settings.steps,
            cfg_scale: settings.guidanceScale,
            image_cfg_scale: record.source == nil ? nil : settings.originalGuidanceScale)
        if settings.drawsTokens {
            (fields.temperature, fields.top_p) = (settings.temperature, settings.topP)
        } else {
            (fields.spacing, fields.eta, fields.clip) = (settings.spacing.rawValue, eta, settings.clipsImage)
        }
        return try JSONText.line(fields)
    }

    private var samplerName: String { settings.drawsTokens ? "tokens" : settings.method == .ddpm ? "ddpm" : "ddim" }

    private var eta: Double {
        if case .ddim(let eta) = settings.method { eta } else { 1 }
    }
}
