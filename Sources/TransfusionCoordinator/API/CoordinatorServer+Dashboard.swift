internal import HTTPTypes
internal import Hummingbird

extension CoordinatorServer {
    /// The files of the page, which anybody may have.
    static let pages: [(path: String, type: String, bytes: [UInt8])] = [
        ("/", "text/html; charset=utf-8", PackageResources.index_html),
        ("/dashboard.css", "text/css; charset=utf-8", PackageResources.dashboard_css),
        ("/dashboard.js", "text/javascript; charset=utf-8", PackageResources.dashboard_js),
        ("/charts.js", "text/javascript; charset=utf-8", PackageResources.charts_js),
    ]

    /// Adds the page, which shows nothing by itself, and the exchange of a viewer's token for a cookie.
    func addDashboard(to router: Router<CoordinatorContext>, isEncrypted: Bool) {
        for file in Self.pages {
            let body = ByteBuffer(bytes: file.bytes)
            router.get(RouterPath(file.path)) { _, _ in
                Response(
                    status: .ok, headers: [.contentType: file.type, .cacheControl: "no-cache"],
                    body: .init(byteBuffer: body))
            }
        }
        router.post("v1/session") { request, context in
            // The cookie may look and no more, whoever gets hold of it.
            guard let token = Self.bearer(request), await control.access(for: token) == .viewer else {
                throw HTTPError(.forbidden, message: "the dashboard takes a token of 'tf-coord dashboard'")
            }
            var response = Response(status: .noContent)
            // Without a path it goes to what lies beside this address and nowhere else: behind a proxy that serves many
            // users below paths of one name, not to the servers of others.
            response.setCookie(
                Cookie(
                    name: Self.cookie(context), value: token, secure: isEncrypted, httpOnly: true, sameSite: .strict))
            return response
        }
    }
}
