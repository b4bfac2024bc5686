internal import Foundation

/// Addresses of this host.
enum LocalAddress {
    /// The one that another host sees when this one speaks to it; nil when its name is not known here. Sends nothing.
    static func seen(by host: String) -> String? {
        withAddresses(of: host) { address in
            let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let descriptor = socket(address.ai_family, type, 0)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            // To connect a datagram socket only chooses the way.
            guard connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 else { return nil }
            return withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getsockname(descriptor, $0, &length) == 0 ? text($0, length) : nil
                }
            }
        }
    }

    /// Whether a name means this host.
    static func isThisHost(_ name: String) -> Bool {
        let own = ProcessInfo.processInfo.hostName
        if [ComputeHost.localName, own, own.prefix { $0 != "." }.description].contains(name) { return true }
        // The way to an address of this host begins at that address.
        return withAddresses(of: name) { text($0.ai_addr, $0.ai_addrlen) }.map { $0 == seen(by: $0) } ?? false
    }

    private static func withAddresses<Value>(of host: String, _ body: (addrinfo) -> Value?) -> Value? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        // The port is not used.
        guard getaddrinfo(host, "9", &hints, &list) == 0 else { return nil }
        defer { freeaddrinfo(list) }
        var next = list
        while let address = next?.pointee {
            if let value = body(address) { return value }
            next = address.ai_next
        }
        return nil
    }

    private static func text(_ address: UnsafeMutablePointer<sockaddr>, _ length: socklen_t) -> String? {
        var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, length, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0 else {
            return nil
        }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
