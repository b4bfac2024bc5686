/// The pictures of Debian's openclipart-png with captions made of what the drawings of openclipart-svg say of themselves.
///
/// A drawing lies at the same path as its picture and has a title, and some have a description, in Dublin Core's elements; all
/// have keywords.
enum ClipArt {
    static let defaultDirectory = "/usr/share/openclipart"

    /// Icons of programs, stars by the hundred, and marks of maps: what they are called says little of what they show.
    private static let leftOut = ["computer/icons", "shapes/stars", "signs_and_symbols/map_symbols"]
    /// A title that more pictures share says nothing of one of them.
    private static let mostOfOneName = 5
    private static let mostLetters = 200
    private static let mostBytes = 1 << 26

    /// What a drawing says of itself; empty where it says nothing.
    struct Description: Equatable {
        var title = ""
        var description = ""
        var keywords: [String] = []
    }

    /// - Parameter directory: With the folders `png` and `svg`.
    /// - Returns: The pictures that have a caption, and how many have none.
    static func pictures(
        _ directory: String = defaultDirectory
    ) throws(DataError) -> (pictures: [GalleryPicture], withoutCaption: Int) {
        let names = GalleryPicture.files(below: directory + "/png", ending: "png")
            .filter { name in !leftOut.contains { name.hasPrefix($0 + "/") } }
        guard !names.isEmpty else {
            throw DataError(directory + "/png", "holds no pictures; install the package openclipart-png")
        }
        var described: [(name: String, description: Description)] = []
        for name in names {
            let drawing = directory + "/svg/" + name.dropLast(3) + "svg"
            guard Files.exists(drawing) else { continue }
            described.append((name, Description(drawing: try Files.read(drawing, limit: mostBytes))))
        }
        guard !described.isEmpty else {
            throw DataError(directory + "/svg", "holds no drawings; install the package openclipart-svg")
        }
        var uses: [String: Int] = [:]
        for (_, description) in described {
            for text in Set([description.title, description.description]) where !text.isEmpty {
                uses[text.lowercased(), default: 0] += 1
            }
        }
        let pictures = described.compactMap { name, description in
            caption(description) { uses[$0.lowercased(), default: 0] > mostOfOneName }.map {
                GalleryPicture(key: "openclipart/" + name, path: directory + "/png/" + name, caption: $0)
            }
        }
        return (pictures, names.count - pictures.count)
    }

    /// The description where it says more than the title, else the title; a title of one word, and one that many share, with
    /// keywords.
    static func caption(_ found: Description, isCommon: (String) -> Bool) -> String? {
        let description = isCommon(found.description) ? "" : firstSentence(found.description)
        if description.split(separator: " ").count > max(2, found.title.split(separator: " ").count) {
            return description
        }
        var parts = found.title.isEmpty ? [] : [found.title]
        if isCommon(found.title) || !found.title.contains(" ") {
            let words = found.title.lowercased()
            parts += found.keywords.filter { !words.contains($0.lowercased()) }.prefix(3)
        }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private static func firstSentence(_ text: String) -> String {
        let end = text.firstRange(of: ". ")?.lowerBound ?? text.endIndex
        let sentence = text[..<end]
        return sentence.count <= mostLetters ? String(sentence) : ""
    }
}

extension ClipArt.Description {
    /// - Parameter drawing: An SVG file.
    init(drawing: [UInt8]) {
        guard let start = drawing.firstRange(of: Array("<metadata".utf8))?.upperBound else { return }
        let end = drawing[start...].firstRange(of: Array("</metadata>".utf8))?.lowerBound ?? drawing.endIndex
        let text = String(decoding: drawing[start..<end], as: UTF8.self)
        // Publisher and author have titles too, further below.
        let own = ["<dc:publisher", "<dc:creator", "<dc:rights"].reduce(text[...]) { text, tag in
            text.firstRange(of: tag).map { text[..<$0.lowerBound] } ?? text
        }
        title = Self.cleanTitle(Self.elements("dc:title", in: own).first ?? "")
        description = Self.clean(Self.elements("dc:description", in: own).first ?? "")
        keywords = Self.elements("rdf:li", in: text[...]).map(Self.clean).filter { keyword in
            keyword.contains(where: \.isLetter) && !keyword.hasPrefix("0x") && !keyword.hasPrefix("hash")
                && !["unsorted", "signs and symbols"].contains(keyword)
        }
    }

    /// The contents of all elements of a name that have no attributes.
    private static func elements(_ name: String, in text: Substring) -> [String] {
        var contents: [String] = []
        var rest = text
        while let start = rest.firstRange(of: "<\(name)>"),
            let end = rest[start.upperBound...].firstRange(of: "</\(name)>")
        {
            contents.append(String(rest[start.upperBound..<end.lowerBound]))
            rest = rest[end.upperBound...]
        }
        return contents
    }

    /// Without the author before the title, and without a number after it that tells versions apart.
    private static func cleanTitle(_ title: String) -> String {
        var title = clean(title)
        if title.hasPrefix("Clipart by "), let dash = title.firstRange(of: " - ") {
            title = String(title[dash.upperBound...])
        }
        let bare = title.reversed().drop { $0.isNumber || $0 == " " || $0 == "#" || $0 == "-" }.reversed()
        return bare.isEmpty ? title : String(bare)
    }

    /// One line of words without XML's entities; empty for addresses of people and pages.
    private static func clean(_ text: String) -> String {
        var text = text
        for (entity, character) in [("lt", "<"), ("gt", ">"), ("quot", "\""), ("apos", "'"), ("amp", "&")] {
            text = text.replacing("&\(entity);", with: character)
        }
        let words = text.split { $0.isWhitespace || $0 == "_" }
        guard !words.contains(where: { $0.contains("@") || $0.contains("://") || $0.hasPrefix("www.") }) else {
            return ""
        }
        return words.joined(separator: " ")
    }
}
